document.querySelectorAll("#motif-search").forEach(function (box) {
  box.addEventListener("input", function () {
    var sought = box.value.trim().toLowerCase(), all = Array.from(document.querySelectorAll("#motifs [data-name]"));
    all.forEach(function (item) {
      var text = item.querySelector("summary").textContent.replace(/\s+/g, " ") + item.dataset.match;
      item.hidden = !text.toLowerCase().includes(sought);
    });
    document.getElementById("motif-count").textContent = sought ? all.filter(function (item) { return !item.hidden; }).length + " of " + all.length : "";
  });
});
document.querySelectorAll("#motif-sort").forEach(function (choice) {
  choice.addEventListener("change", function () {
    var by = choice.value, sign = by === "order" ? 1 : -1; // the largest effect first
    function key(item) { var number = Number(item.dataset[by]); return isNaN(number) ? -Infinity : number; }
    document.querySelectorAll("#motifs .cards, #motifs .rows").forEach(function (list) {
      Array.from(list.children).sort(function (a, b) {
        if (by === "name") { return a.dataset.name.localeCompare(b.dataset.name, "en", { numeric: true }); }
        return key(a) === key(b) ? 0 : sign * (key(a) - key(b));
      }).forEach(function (item) { list.appendChild(item); });
    });
  });
});
