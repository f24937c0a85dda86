"use strict";
(() => {
  const table = document.getElementById("gate-table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const find = document.getElementById("find");
  const showing = document.getElementById("showing");
  const choices = [...document.querySelectorAll(".controls button")];
  const texts = rows.map((row) => row.cells[1].textContent.toLowerCase());
  let chosen = "";

  const filter = () => {
    const wanted = find.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row, place) => {
      row.hidden = (chosen !== "" && row.dataset.verdict !== chosen) || !texts[place].includes(wanted);
      shown += !row.hidden;
    });
    showing.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} gates`;
  };

  const value = (row, column) => {
    const cell = row.cells[column];
    return column === 1 ? cell.textContent.trim() : cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };

  const sort = (head) => {
    const falls = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falls ? "descending" : "ascending");
    const keyed = rows.map((row) => [value(row, head.cellIndex), row]);
    keyed.sort(([one], [other]) => {
      // What has no number stays at the end, whichever way the others go.
      if (one === null || other === null) return (one === null) - (other === null);
      const order = typeof one === "string" ? one.localeCompare(other) : one - other;
      return falls ? -order : order;
    });
    // Emptied first: to move rows from the front to the end one by one takes Chromium seconds for thousands of them.
    body.replaceChildren();
    for (const [, row] of keyed) body.append(row);
  };

  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head));
    head.append(button);
  }
  for (const choice of choices) {
    choice.addEventListener("click", () => {
      chosen = choice.dataset.verdict;
      for (const other of choices) other.setAttribute("aria-pressed", String(other === choice));
      filter();
    });
  }
  find.addEventListener("input", filter);
  document.querySelector(".controls").hidden = false;

  // What a link leads to may lie in something that is closed.
  const open = () => {
    const target = document.getElementById(location.hash.slice(1));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  if (location.hash) open();

  // On paper nothing can be opened; browsers that do so by their style sheet find it open.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open]):not(.long)")];
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });
})();
