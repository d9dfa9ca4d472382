"use strict";
// The moving parts of report.html. Without this script, or without WebGL, the page is complete: it only stands still.
// Every text from a file reaches the page as textContent, never as markup.
(() => {
  const readJson = (id) => JSON.parse(document.getElementById(id).textContent);
  const fixed = (x, digits = 1) => (x === null || !Number.isFinite(x) ? "–" : (x === 0 ? 0 : x).toFixed(digits));
  const make = (tag, text = "", name = "") => {
    const element = document.createElement(tag);
    element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const page = readJson("page-data");

  // ---- colour scheme --------- ------------------------------------------------------------------------------------

  function offerThemes(button) {
    const order = ["auto", "light", "dark"];
    button.hidden = false;
    button.addEventListener("click", () => {
      const next = order[(order.indexOf(document.documentElement.dataset.theme || "auto") + 1) % 3];
      if (next === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = next;
      button.textContent = `Colours: ${next}`;
    });
  }

  // ---- sortable tables --------------------------------------------------------------------------------------------

  function makeSortable(table) {
    const body = table.tBodies[0];
    for (const button of table.querySelectorAll("thead button")) {
      const head = button.closest("th");
      button.addEventListener("click", () => {
        const first = head.classList.contains("n") && head.cellIndex > 0 ? "descending" : "ascending"; // largest first
        const last = head.getAttribute("aria-sort");
        const next = last === null ? first : last === "ascending" ? "descending" : "ascending";
        const direction = next === "ascending" ? 1 : -1;
        for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
        const key = (row) => row.cells[head.cellIndex].dataset.v ?? row.cells[head.cellIndex].textContent.trim();
        const ordered = [...body.rows].map((row) => [key(row), Number(row.dataset.lesion), row]);
        ordered.sort(([a, m], [b, n]) => (a === "") - (b === "") || direction * compare(a, b) || m - n); // unknown: last
        body.append(...ordered.map(([, , row]) => row));
      });
    }
  }

  function compare(a, b) {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  }

  // ---- one series: table, bars and viewer tell each other where they are -----------------------------------------

  class Series {
    constructor(root) {
      this.root = root;
      this.data = readJson(root.dataset.values);
      this.table = root.querySelector("table.lesions");
      this.rows = this.table ? [...this.table.tBodies[0].rows] : [];
      this.plot = root.querySelector("svg.counts");
      this.status = root.querySelector(".status");
      this.viewer = null;
      this.mm = this.data.start_ras_mm;
      this.lesion = null;
      root.dataset.state = "static";
      this.connectTable();
      this.connectPlot();
      for (const link of root.querySelectorAll("a[data-slice]"))
        link.addEventListener("click", () => this.toSlice(Number(link.dataset.slice)));
      this.show();
    }

    get slice() {
      const row = this.data.ras_to_slice;
      const place = row[0] * this.mm[0] + row[1] * this.mm[1] + row[2] * this.mm[2] + row[3];
      return Math.min(this.data.n_slices - 1, Math.max(0, Math.round(place)));
    }

    // -- moves that people ask for
    toLesion(id) {
      const lesion = this.data.lesions.find(([number]) => number === id);
      if (!lesion) return;
      this.lesion = id;
      this.go(lesion.slice(1, 4));
    }

    toSlice(index) {
      const wanted = Math.min(this.data.n_slices - 1, Math.max(0, index));
      const shift = wanted - this.slice_position();
      this.lesion = null;
      this.go(this.mm.map((x, axis) => x + shift * this.data.slice_step_ras_mm[axis]));
    }

    slice_position() {
      const row = this.data.ras_to_slice;
      return row[0] * this.mm[0] + row[1] * this.mm[1] + row[2] * this.mm[2] + row[3];
    }

    go(mm) {
      this.mm = mm;
      if (this.viewer) this.viewer.moveTo(mm);
      this.show();
    }

    // -- the viewer moved by itself
    moved(mm) {
      this.mm = mm;
      const near = this.nearest();
      this.lesion = near ? near[0] : null;
      this.show();
    }

    nearest() {
      let best = null, least = Infinity;
      for (const lesion of this.data.lesions) {
        const far = Math.hypot(lesion[1] - this.mm[0], lesion[2] - this.mm[1], lesion[3] - this.mm[2]);
        if (far < least && far <= lesion[4] / 2 + 0.75) [best, least] = [lesion, far];
      }
      return best;
    }

    // -- what is shown follows
    show() {
      const slice = this.slice;
      Object.assign(this.root.dataset, { slice, lesion: this.lesion ?? "", crosshair: this.mm.map((x) => fixed(x, 2)).join(" ") });
      for (const row of this.rows) {
        const current = Number(row.dataset.lesion) === this.lesion;
        if (current === (row.getAttribute("aria-selected") === "true")) continue;
        row.setAttribute("aria-selected", String(current));
        if (current) this.reveal(row);
      }
      if (this.plot) {
        const x = Number(this.plot.dataset.left) + (slice + 0.43) * Number(this.plot.dataset.step);
        const line = this.plot.querySelector(".cursor");
        line.setAttribute("x1", x);
        line.setAttribute("x2", x);
        this.plot.setAttribute("aria-valuenow", slice);
        this.plot.setAttribute("aria-valuetext", `slice ${slice}: ${this.data.counts[slice]} lesions`);
      }
      if (this.status) this.status.textContent = this.sentence(slice);
    }

    reveal(row) {
      const box = row.closest(".scrollbox");
      const top = row.offsetTop - row.closest("table").tHead.offsetHeight;
      if (top < box.scrollTop || row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight)
        box.scrollTop = Math.max(0, top - box.clientHeight / 3);
    }

    sentence(slice) {
      const [r, a, s] = this.mm;
      const ways = this.data.orientation_known
        ? [r < 0 ? `L ${fixed(-r)}` : `R ${fixed(r)}`, a < 0 ? `P ${fixed(-a)}` : `A ${fixed(a)}`, s < 0 ? `I ${fixed(-s)}` : `S ${fixed(s)}`]
        : this.mm.map((x) => fixed(x));
      const n = this.data.counts[slice];
      const parts = [`${ways.join(", ")} mm`, `slice ${slice} with ${n} ${n === 1 ? "lesion" : "lesions"}`];
      const row = this.rows.find((item) => Number(item.dataset.lesion) === this.lesion);
      if (row) parts.push(`lesion ${this.lesion}: ${row.dataset.says}`);
      return parts.join(" · ");
    }

    connectTable() {
      if (!this.table) return;
      makeSortable(this.table);
      this.table.tBodies[0].addEventListener("click", (event) => {
        const row = event.target.closest("tr");
        if (row) this.toLesion(Number(row.dataset.lesion));
      });
      this.table.closest(".scrollbox").addEventListener("keydown", (event) => {
        if (event.target.closest("button")) return;
        const rows = [...this.table.tBodies[0].rows];
        const at = rows.findIndex((row) => Number(row.dataset.lesion) === this.lesion);
        const to = { ArrowDown: at + 1, ArrowUp: at < 0 ? 0 : at - 1, Home: 0, End: rows.length - 1 }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        this.toLesion(Number(rows[Math.min(rows.length - 1, Math.max(0, to))].dataset.lesion));
      });
    }

    connectPlot() {
      if (!this.plot) return;
      this.plot.addEventListener("click", (event) => {
        const hit = event.target.closest("[data-slice]");
        if (hit) this.toSlice(Number(hit.dataset.slice));
      });
      this.plot.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5 }[event.key];
        const to = by ? this.slice + by : { Home: 0, End: this.data.n_slices - 1 }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        this.toSlice(to);
      });
    }

    // -- the viewer starts when it comes into view: a page of many series must not hold many WebGL contexts
    offerViewer() {
      const frame = this.root.querySelector(".viewer");
      if (!frame) return;
      if (typeof niivue === "undefined" || !hasWebGL()) {
        this.root.dataset.state = "no-webgl";
        frame.querySelector(".message").textContent = page.no_webgl;
        return;
      }
      const watcher = new IntersectionObserver((entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        watcher.disconnect();
        this.startViewer(frame);
      }, { rootMargin: "150px" });
      watcher.observe(frame);
    }

    async startViewer(frame) {
      this.root.dataset.state = "loading";
      try {
        const viewer = new Viewer(frame, this);
        await viewer.load();
        this.viewer = viewer;
        viewer.moveTo(this.mm);
        frame.classList.add("ready");
        this.root.dataset.state = "ready";
        this.show();
      } catch (error) {
        this.root.dataset.state = "failed";
        frame.classList.remove("ready");
        frame.querySelector(".message").textContent = `${page.viewer_failed} (${error.message})`;
      }
    }
  }

  function hasWebGL() {
    try {
      const context = document.createElement("canvas").getContext("webgl2");
      context?.getExtension("WEBGL_lose_context")?.loseContext();
      return Boolean(context);
    } catch {
      return false;
    }
  }

  // ---- NiiVue with rings drawn over it ---------------------------------------------------------------------------

  const PLANES = { axial: 0, coronal: 1, sagittal: 2 };
  const LESIONS = 1, COMPARTMENTS = 2; // volumes of NiiVue; 0 is the scan

  class Viewer {
    constructor(frame, series) {
      this.frame = frame;
      this.series = series;
      this.data = series.data;
      this.canvas = frame.querySelector("canvas.scan");
      this.over = frame.querySelector("canvas.marks");
      this.shown = { marks: true, fill: false, compartments: false, rejected: false };
      this.awake = false;
      this.nv = new niivue.Niivue({
        logLevel: "silent", dragAndDropEnabled: false, isResizeCanvas: true, backColor: [0, 0, 0, 1],
        crosshairWidth: 0, fontColor: [0.86, 0.86, 0.86, 1],
        isRadiologicalConvention: true, sagittalNoseLeft: true, isOrientationTextVisible: this.data.orientation_known,
        multiplanarShowRender: niivue.SHOW_RENDER.NEVER, dragMode: niivue.DRAG_MODE.windowing, show3Dcrosshair: false,
        isColorbar: false, viewModeHotKey: "", clipPlaneHotKey: "", loadingText: "", fontMinPx: 13,
      });
    }

    async load() {
      const volume = async (kind, colormap, opacity, extra = {}) => {
        const base64 = document.getElementById(`${this.data.volumes}-${kind}`).textContent.trim();
        return niivue.NVImage.loadFromBase64({ base64, name: `${kind}.nii.gz`, colormap, opacity, ...extra });
      };
      await this.nv.attachToCanvas(this.canvas);
      const [low, high] = this.data.window;
      this.nv.addVolume(await volume("scan", "gray", 1, { cal_min: low, cal_max: high }));
      for (const kind of ["lesions", "compartments"].filter((name) => document.getElementById(`${this.data.volumes}-${name}`))) {
        const labels = await volume(kind, "gray", 0);
        labels.setColormapLabel(labelColours());
        this.nv.addVolume(labels);
      }
      this.nv.updateGLVolume();
      this.layout("all");
      this.places = this.data.lesions.map((lesion) => [lesion, fraction(this.nv, lesion.slice(1, 4))]);
      this.refused = this.data.rejected.map((place) => fraction(this.nv, place));
      this.nv.onLocationChange = () => this.series.moved(world(this.nv, this.nv.scene.crosshairPos));
      const draw = this.nv.drawScene.bind(this.nv);
      this.nv.drawScene = () => {
        const answer = draw();
        this.drawMarks();
        return answer;
      };
      this.connectTools();
      this.connectWheel();
    }

    moveTo(mm) {
      const told = this.nv.onLocationChange;
      this.nv.onLocationChange = () => {};
      this.nv.scene.crosshairPos = fraction(this.nv, mm);
      this.nv.createOnLocationChange();
      this.nv.onLocationChange = told;
      this.nv.drawScene();
    }

    layout(name) {
      if (name === "all") {
        const first = PLANES[this.data.plane];
        const [second, third] = [0, 1, 2].filter((plane) => plane !== first);
        this.nv.setCustomLayout([
          { sliceType: first, position: [0, 0, 0.6, 1] },
          { sliceType: second, position: [0.6, 0, 0.4, 0.5] },
          { sliceType: third, position: [0.6, 0.5, 0.4, 0.5] },
        ]);
      } else {
        this.nv.setCustomLayout([{ sliceType: PLANES[name], position: [0, 0, 1, 1] }]);
      }
    }

    connectTools() {
      const tools = this.series.root.querySelector(".tools");
      tools.hidden = false;
      for (const button of tools.querySelectorAll("[data-layout]"))
        button.addEventListener("click", () => {
          tools.querySelectorAll("[data-layout]").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
          this.layout(button.dataset.layout);
        });
      for (const button of tools.querySelectorAll("[data-show]"))
        button.addEventListener("click", () => {
          const on = !this.shown[button.dataset.show];
          this.shown[button.dataset.show] = on;
          button.setAttribute("aria-pressed", String(on));
          this.nv.setOpacity(LESIONS, this.shown.fill ? 0.75 : 0);
          if (this.nv.volumes.length > COMPARTMENTS) this.nv.setOpacity(COMPARTMENTS, this.shown.compartments ? 0.35 : 0);
          this.nv.drawScene();
        });
      tools.querySelector("[data-reset]").addEventListener("click", () => {
        [this.nv.volumes[0].cal_min, this.nv.volumes[0].cal_max] = this.data.window;
        this.nv.setPan2Dxyzmm([0, 0, 0, 1]);
        this.nv.updateGLVolume();
      });
    }

    // The wheel turns slices only after a click into the viewer: else it scrolls the page.
    connectWheel() {
      this.canvas.addEventListener("pointerdown", () => (this.awake = true));
      document.addEventListener("pointerdown", (event) => (this.awake = this.frame.contains(event.target)));
      this.frame.addEventListener("wheel", (event) => !this.awake && event.stopPropagation(), { capture: true });
    }

    drawMarks() {
      const { width, height } = this.nv.gl.canvas;
      if (this.over.width !== width || this.over.height !== height) Object.assign(this.over, { width, height });
      const pen = this.over.getContext("2d");
      pen.clearRect(0, 0, width, height);
      this.frame.dataset.mm = world(this.nv, this.nv.scene.crosshairPos).map((x) => fixed(x, 2)).join(" ");
      this.nv.screenSlices.forEach((tile, index) => tile.axCorSag <= 2 && this.drawTile(pen, tile, index));
    }

    drawTile(pen, tile, index) {
      const map = tileMap(this.nv, tile, index);
      if (!map) return;
      const scale = window.devicePixelRatio || 1;
      const acquired = tile.axCorSag === PLANES[this.data.plane];
      const slice = this.series.slice;
      const [left, top, wide, high] = map.box;
      pen.save();
      pen.beginPath();
      pen.rect(left, top, wide, high);
      pen.clip();
      pen.lineWidth = scale;
      pen.strokeStyle = "#2fd3a0";
      const [cx, cy] = map.toScreen([...this.nv.scene.crosshairPos]);
      const gap = 14 * scale; // the lesion under the crosshair stays free
      const arms = `M${left},${cy}H${cx - gap}M${cx + gap},${cy}H${left + wide}M${cx},${top}V${cy - gap}M${cx},${cy + gap}V${top + high}`;
      pen.stroke(new Path2D(arms));
      pen.lineWidth = 1.5 * scale;
      if (this.shown.rejected) {
        pen.strokeStyle = "#B8B8B8";
        for (const place of this.refused) {
          if (Math.abs(place[map.across] - map.depth) * map.depthMm > 1.5) continue;
          const [x, y, d] = [...map.toScreen(place), 3 * scale];
          pen.stroke(new Path2D(`M${x - d},${y - d}L${x + d},${y + d}M${x + d},${y - d}L${x - d},${y + d}`));
        }
      }
      for (const [[id, , , , diameter, compartment, first, last], place] of this.shown.marks ? this.places : []) {
        const off = Math.abs(place[map.across] - map.depth) * map.depthMm;
        const counted = acquired ? first <= slice && slice <= last : off <= Math.max(diameter / 2, map.stepMm / 2);
        if (!counted) continue;
        const [x, y] = map.toScreen(place);
        pen.strokeStyle = page.colours[compartment];
        pen.beginPath();
        pen.arc(x, y, Math.max((diameter / 2 + 1) / map.mmPerPixel, 5 * scale), 0, 2 * Math.PI);
        pen.lineWidth = (id === this.series.lesion ? 3 : 1.5) * scale;
        pen.stroke();
      }
      pen.restore();
    }
  }

  // World and texture through the scan's own affine. NiiVue's default straightens oblique and sheared scans
  // (it is made for planes shown as acquired), so its millimetres would not be the patient's: hence the "true".
  const world = (nv, place) => [...nv.frac2mm(place, 0, true)].slice(0, 3);
  const fraction = (nv, mm) => nv.mm2frac(mm, 0, true);

  // Where texture fractions fall on the screen within one tile: linear, measured at three points of the tile.
  function tileMap(nv, tile, index) {
    let [left, top, wide, high] = tile.leftTopWidthHeight;
    if (wide < 0) [left, wide] = [left + wide, -wide];
    const at = (u, v) => [...nv.screenXY2TextureFrac(left + u * wide, top + v * high, index, false)];
    const [origin, right, down] = [at(0.25, 0.25), at(0.75, 0.25), at(0.25, 0.75)];
    const across = 2 - tile.axCorSag; // axial: k, coronal: j, sagittal: i of the canonical grid
    const axes = [0, 1, 2].filter((axis) => axis !== across);
    const x = axes.find((axis) => Math.abs(right[axis] - origin[axis]) > Math.abs(down[axis] - origin[axis]));
    const y = axes.find((axis) => axis !== x);
    if (x === undefined || y === undefined) return null;
    const distance = (p, q) => Math.hypot(...[0, 1, 2].map((n) => world(nv, p)[n] - world(nv, q)[n]));
    const shifted = (p, axis, by) => p.map((value, n) => (n === axis ? value + by : value));
    const depthMm = distance(origin, shifted(origin, across, 1));
    return {
      box: [left, top, wide, high],
      across,
      depth: nv.scene.crosshairPos[across],
      depthMm,
      stepMm: depthMm / nv.volumes[0].dimsRAS[across + 1],
      mmPerPixel: distance(origin, right) / (0.5 * wide),
      toScreen: (place) => [
        left + wide * (0.25 + (0.5 * (place[x] - origin[x])) / (right[x] - origin[x])),
        top + high * (0.25 + (0.5 * (place[y] - origin[y])) / (down[y] - origin[y])),
      ],
    };
  }

  function labelColours() {
    const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    for (const [label, colour] of Object.entries(page.colours)) {
      const rgb = [1, 3, 5].map((n) => parseInt(colour.slice(n, n + 2), 16));
      ["R", "G", "B"].forEach((channel, n) => table[channel].push(rgb[n]));
      table.A.push(255);
      table.I.push(Number(label));
      table.labels.push("");
    }
    return table;
  }

  // ---- candidates, page by page -----------------------------------------------------------------------------------

  const PER_PAGE = 50;

  class Candidates {
    constructor(root, series) {
      this.all = readJson(root.dataset.values);
      this.series = series;
      this.root = root;
      this.page = 0;
      this.body = root.querySelector("tbody");
      this.search = root.querySelector("input");
      this.rule = root.querySelector("select");
      const named = { rejected: "rejected", "": "all", accepted: "accepted" };
      for (const rule of ["rejected", "", ...Object.keys(this.all.rules)]) {
        const option = make("option", named[rule] ?? `rejected by ${this.all.rules[rule].name}`);
        option.value = rule;
        this.rule.append(option);
      }
      root.querySelector(".controls").hidden = false;
      const again = () => { this.page = 0; this.show(); };
      this.search.addEventListener("input", again);
      this.rule.addEventListener("input", again);
      root.querySelector("[data-turn='-1']").addEventListener("click", () => this.turn(-1));
      root.querySelector("[data-turn='1']").addEventListener("click", () => this.turn(1));
      this.body.addEventListener("click", (event) => {
        const row = event.target.closest("tr[data-place]");
        if (row) this.series.go(row.dataset.place.split(" ").map(Number));
      });
      this.show();
    }

    chosen() {
      const words = this.search.value.trim().toLowerCase();
      const rule = this.rule.value;
      return this.all.rows.filter(([id, name]) =>
        (rule === "" || name === rule || (rule === "rejected" && name !== "accepted")) &&
        (words === "" || String(id) === words || this.all.rules[name].text.toLowerCase().includes(words)));
    }

    turn(by) {
      this.page += by;
      this.show();
    }

    show() {
      const rows = this.chosen();
      const last = Math.max(0, Math.ceil(rows.length / PER_PAGE) - 1);
      this.page = Math.min(last, Math.max(0, this.page));
      const from = this.page * PER_PAGE;
      this.body.replaceChildren(...rows.slice(from, from + PER_PAGE).map((row) => this.row(row)));
      const to = Math.min(rows.length, from + PER_PAGE);
      this.root.querySelector(".found").textContent = rows.length ? `${from + 1}–${to} of ${rows.length}` : "none found";
      this.root.querySelector("[data-turn='-1']").disabled = this.page === 0;
      this.root.querySelector("[data-turn='1']").disabled = this.page === last;
    }

    row([id, rule, probability, r, a, s, diameter, contrast, lesion]) {
      const row = make("tr");
      row.dataset.place = [r, a, s].join(" ");
      const head = make("th", "", "n");
      head.scope = "row";
      head.append(make("button", String(id), "plain"));
      row.append(head);
      for (const [value, digits] of [[probability, 2], [r, 1], [a, 1], [s, 1], [diameter, 1], [contrast, 1]])
        row.append(make("td", fixed(value, digits), "n"));
      row.append(make("td", lesion === null ? this.all.rules[rule].name : `accepted: lesion ${lesion}`));
      return row;
    }
  }

  // ---- start ------------------------------------------------------------------------------------------------------

  offerThemes(document.querySelector("button.theme"));
  const byNumber = {};
  for (const root of document.querySelectorAll(".series")) {
    const series = new Series(root);
    byNumber[root.dataset.number] = series;
    series.offerViewer();
    for (const part of root.querySelectorAll(".candidates")) new Candidates(part, series);
  }
  document.documentElement.dataset.script = "ran";
})();
