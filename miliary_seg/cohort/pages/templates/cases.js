"use strict";
// Sorts the table by a click on a heading and hides the rows of answers that are not wanted; nothing is fetched.
(() => {
  const table = document.querySelector("table.cases");
  const body = table.tBodies[0];
  const value = (row, column) => {
    const cell = row.cells[column];
    const number = cell.dataset.n;
    return number === undefined ? cell.textContent.trim().toLowerCase() : number === "" ? null : Number(number);
  };
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null); // unknown values stay below
    return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  };
  const sort = (heading) => {
    const column = heading.cellIndex;
    const last = heading.getAttribute("aria-sort");
    const down = last === null ? heading.classList.contains("n") : last === "ascending"; // numbers: largest first
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    rows.sort(([a], [b]) => (a === null || b === null || !down ? compare(a, b) : compare(b, a)));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows.map(([, row]) => row));
  };
  for (const heading of table.tHead.rows[0].cells) {
    const button = heading.querySelector("button");
    if (button) button.addEventListener("click", () => sort(heading));
  }
  const search = document.querySelector("#search");
  const boxes = [...document.querySelectorAll("input[name=status]")];
  const shown = document.querySelector("#shown");
  const filter = () => {
    const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const text = search.value.trim().toLowerCase();
    let n = 0;
    for (const row of body.rows) {
      row.hidden = !wanted.has(row.dataset.status) || !row.dataset.case.toLowerCase().includes(text);
      n += !row.hidden;
    }
    shown.textContent = String(n);
  };
  for (const input of [search, ...boxes]) input.addEventListener("input", filter);
  document.querySelector("#controls").hidden = false;
  filter();
})();
