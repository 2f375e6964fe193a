"use strict";
(() => {
  // The page is whole without this script, which adds sorting, copying, and a line that tells what a ribbon is.
  const button = (label, action) => {
    const b = document.createElement("button");
    b.type = "button";
    b.textContent = label;
    b.addEventListener("click", () => action(b));
    return b;
  };

  const copy = async (text, b, label) => {
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
      b.focus();
    }
    b.textContent = done ? "Copied" : "Not copied";
    setTimeout(() => { b.textContent = label; }, 1500);
  };

  for (const box of document.querySelectorAll(".command")) {
    box.append(button("Copy", b => copy(box.querySelector("code").textContent, b, "Copy")));
  }

  const valueOf = cell => {
    const text = cell.dataset.v ?? cell.textContent.trim();
    return text === "" || isNaN(text) ? null : Number(text);
  };
  const ordered = (a, b, up) => {
    const x = valueOf(a), y = valueOf(b);
    if (x !== null && y !== null) return up ? x - y : y - x;
    if (x !== null || y !== null) return x === null ? 1 : -1; // what is no number comes last
    return up ? a.textContent.localeCompare(b.textContent) : b.textContent.localeCompare(a.textContent);
  };

  for (const figure of document.querySelectorAll("figure.table")) {
    const table = figure.querySelector("table"), body = table.tBodies[0];
    const rows = () => [...table.rows].map(r => [...r.cells].map(c => c.textContent.replaceAll("\u00a0", " ").trim()).join("\t")).join("\n") + "\n";
    figure.querySelector("figcaption").append(button("Copy table", b => copy(rows(), b, "Copy table")));
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, at) => {
      const name = head.textContent;
      head.textContent = "";
      head.append(button(name, () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        body.append(...[...body.rows].sort((a, b) => ordered(a.cells[at], b.cells[at], up)));
      }));
    });
  }

  for (const figure of document.querySelectorAll("figure.flow")) {
    const told = figure.querySelector(".told");
    // On the figure, since an element of SVG that listens for focus can be reached by the tab key, whether it is meant to or not.
    for (const event of ["pointerover", "focusin", "click"]) figure.addEventListener(event, e => {
      const title = e.target.closest("g")?.querySelector("title");
      if (title) told.textContent = title.textContent;
    });
  }
})();
