document.querySelectorAll("th button").forEach(function (button) {
  button.addEventListener("click", function () {
    var head = button.parentNode, body = head.closest("table").tBodies[0];
    var rising = head.getAttribute("aria-sort") !== "ascending";
    function key(row) { var text = row.cells[head.cellIndex].dataset.key; return text === "nan" ? "-Infinity" : text; }
    head.parentNode.querySelectorAll("th").forEach(function (other) { other.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    Array.from(body.rows).sort(function (a, b) {
      var x = key(a), y = key(b), order = isNaN(x) || isNaN(y) ? x.localeCompare(y, "en", { numeric: true }) : Number(x) - Number(y);
      return rising ? order : -order;
    }).forEach(function (row) { body.appendChild(row); });
  });
});
document.querySelectorAll("#motif-search").forEach(function (box) {
  box.addEventListener("input", function () {
    var sought = box.value.trim().toLowerCase();
    document.querySelectorAll("[data-search]").forEach(function (item) { item.hidden = !item.dataset.search.includes(sought); });
    var all = document.querySelectorAll("tr[data-search]");
    document.getElementById("motif-count").textContent = sought ? document.querySelectorAll("tr[data-search]:not([hidden])").length + " of " + all.length : "";
  });
});
