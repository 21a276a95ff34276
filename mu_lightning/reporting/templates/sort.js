"use strict";
// Tables are sorted by their headers: numbers by value, gaps last, text by the alphabet.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const value = (row) => (column === 0 ? row.cells[0].innerText : row.cells[column].dataset.value);
      const rows = [...table.tBodies[0].rows];
      const filled = rows.filter((row) => value(row) !== "");
      const numeric = filled.every((row) => !Number.isNaN(Number(value(row))));
      const before = head.getAttribute("aria-sort");
      const descending = before ? before === "ascending" : numeric;
      filled.sort((a, b) => {
        const order = numeric ? Number(value(a)) - Number(value(b)) : value(a).localeCompare(value(b));
        return descending ? -order : order;
      });
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      table.tBodies[0].append(...filled, ...rows.filter((row) => value(row) === ""));
    });
  });
}
