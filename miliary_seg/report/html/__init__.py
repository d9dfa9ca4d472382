"""``report.html``: ``page`` fills the templates, ``pictures``, ``plots`` and ``viewer`` make what it shows.

``environment`` escapes every text; ``views`` says how a plane is turned for a reader; ``vendor`` holds NiiVue.
"""
