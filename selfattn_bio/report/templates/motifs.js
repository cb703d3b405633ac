document.querySelectorAll("#motif-table button").forEach(function (button) {
  button.addEventListener("click", function () {
    var body = document.querySelector("#motif-table tbody"), key = button.dataset.by, head = button.parentNode;
    var rising = head.getAttribute("aria-sort") !== "ascending";
    document.querySelectorAll("#motif-table th").forEach(function (other) { other.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    Array.from(body.rows).sort(function (a, b) {
      var order = a.dataset[key].localeCompare(b.dataset[key], "en", { numeric: true }), x = parseFloat(a.dataset[key]), y = parseFloat(b.dataset[key]);
      if (key === "effect" || key === "enrichment") { order = (isNaN(x) ? -Infinity : x) < (isNaN(y) ? -Infinity : y) ? -1 : 1; }
      return rising ? order : -order;
    }).forEach(function (row) { body.appendChild(row); });
  });
});
document.querySelectorAll("#motif-search").forEach(function (box) {
  box.addEventListener("input", function () {
    var sought = box.value.trim().toLowerCase();
    document.querySelectorAll("[data-search]").forEach(function (item) { item.hidden = !item.dataset.search.includes(sought); });
    var all = document.querySelectorAll("#motif-table tbody tr");
    document.getElementById("motif-count").textContent = sought ? document.querySelectorAll("#motif-table tbody tr:not([hidden])").length + " of " + all.length : "";
  });
});
