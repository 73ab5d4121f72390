"use strict";
// Adds to a page that is whole without it: tables can be sorted and filtered, and folded details open for printing.
(() => {
  const body = document.body;
  const number = (text) => {
    const found = text.replace(/\u2212/g, "-").replace(/,/g, "").match(/^\s*[+-]?\d+(\.\d+)?(e-?\d+)?/);
    return found ? Number(found[0]) : null;
  };
  const compare = (a, b) => {
    const x = number(a), y = number(b);
    if (x !== null && y !== null) return x - y;
    if (x !== null || y !== null) return x !== null ? -1 : 1;
    return a.localeCompare(b);
  };
  const sortable = (table) => {
    const rows = table.tBodies[0];
    table.querySelectorAll("thead th").forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.title = body.dataset.sort;
      while (head.firstChild && !(head.firstChild.classList && head.firstChild.classList.contains("tag")))
        button.append(head.firstChild);
      head.prepend(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const sorted = [...rows.rows].sort((a, b) =>
          (up ? 1 : -1) * compare(a.cells[place].textContent, b.cells[place].textContent));
        rows.append(...sorted);
      });
    });
  };
  const filterable = (table) => {
    const label = document.createElement("label");
    label.className = "filter";
    const input = document.createElement("input");
    input.type = "search";
    const none = document.createElement("span");
    none.setAttribute("role", "status");
    label.append(body.dataset.filter + " ", input);
    table.closest(".scroll").before(label, none);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/);
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      none.textContent = shown ? "" : body.dataset.none;
    });
  };
  document.querySelectorAll("table.grid, table#requirements").forEach((table) => {
    const size = table.tBodies[0].rows.length;
    if (size > 2) sortable(table);
    if (size > 11 || table.id === "requirements") filterable(table);
  });
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
})();
