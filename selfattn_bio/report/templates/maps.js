document.querySelectorAll("figure.map").forEach(function (figure) {
  var data = JSON.parse(figure.dataset.map), edges = data.edges, first = edges[0], length = edges[edges.length - 1] - first, bins = edges.length - 1;
  var canvas = figure.querySelector("canvas"), layer = figure.querySelector("select"), pen = canvas.getContext("2d");
  var shades = data.layers.map(function (each) { return atob(each.shades); }), colours = [], view = { x: first, y: first, size: length };
  var LEFT = 34, TOP = 8, side, plot; // px; sites are drawn in the margin above and to the right
  for (var i = 0; i < 256; i++) { colours.push("rgb(" + [255 - i * 0.97, 255 - i * 0.77, 255 - i * 0.55].map(Math.round) + ")"); }

  function px(letter, start) { return (letter - start) * plot / view.size; }
  function bin(letter) { // the last one that begins at or before it
    var low = 0, high = bins - 1;
    while (low < high) { var middle = (low + high + 1) >> 1; if (edges[middle] <= letter) { low = middle; } else { high = middle - 1; } }
    return low;
  }
  function range(start, end) { return Math.floor(start) + 1 + " to " + Math.ceil(end); }
  function sitesIn(start, end) {
    var names = data.sites.filter(function (site) { return site[1] < end && site[2] > start; }).map(function (site) { return site[0]; });
    return names.length ? " (" + names.filter(function (name, at) { return names.indexOf(name) === at; }).join(", ") + ")" : "";
  }
  function axis(start, put) {
    var step = Math.pow(10, Math.floor(Math.log10(view.size / 3)));
    if (step * 5 < view.size / 3) { step *= 5; } else if (step * 2 < view.size / 3) { step *= 2; }
    step = Math.max(1, step);
    var wide = plot / view.size, has_letters = data.letters && wide >= 9;
    for (var at = Math.max(first, Math.floor(start)); at < Math.min(first + length, start + view.size); at++) {
      if (at + 0.5 < start || at + 0.5 > start + view.size) { continue; }
      if (has_letters) { put(px(at + 0.5, start), data.letters[at], 9); }
      if ((at + 1) % step === 0) { put(px(at + 0.5, start), String(at + 1), has_letters ? 20 : 10); }
    }
  }
  function draw() {
    var ratio = window.devicePixelRatio || 1, found = shades[layer.value];
    side = canvas.clientWidth; plot = side - LEFT - TOP;
    canvas.width = canvas.height = Math.round(side * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, side, side);
    pen.save(); pen.beginPath(); pen.rect(LEFT, TOP, plot, plot); pen.clip();
    for (var row = bin(view.y), rows = bin(view.y + view.size - 1e-6); row <= rows; row++) {
      var y = Math.round(px(edges[row], view.y)), tall = Math.round(px(edges[row + 1], view.y)) - y;
      for (var column = bin(view.x), columns = bin(view.x + view.size - 1e-6); column <= columns; column++) {
        var x = Math.round(px(edges[column], view.x)), shade = found.charCodeAt(row * bins + column);
        if (shade) { pen.fillStyle = colours[shade]; pen.fillRect(LEFT + x, TOP + y, Math.round(px(edges[column + 1], view.x)) - x, tall); }
      }
    }
    pen.restore();
    pen.save(); pen.beginPath(); pen.rect(LEFT, 0, plot + TOP, TOP + plot); pen.clip();
    pen.fillStyle = "#d55e00";
    data.sites.forEach(function (site) {
      var x = px(site[1], view.x), y = px(site[1], view.y), wide = Math.max(2, px(site[2], site[1]));
      if (x < plot && x + wide > 0) { pen.fillRect(LEFT + Math.max(0, x), 1, Math.min(plot, x + wide) - Math.max(0, x), 5); }
      if (y < plot && y + wide > 0) { pen.fillRect(LEFT + plot + 2, TOP + Math.max(0, y), 5, Math.min(plot, y + wide) - Math.max(0, y)); }
    });
    pen.restore();
    pen.strokeStyle = "#6b7783"; pen.lineWidth = 1; pen.strokeRect(LEFT, TOP, plot, plot);
    pen.fillStyle = "#4a5560"; pen.font = "9px sans-serif"; pen.textAlign = "center"; pen.textBaseline = "middle";
    axis(view.x, function (at, text, away) { pen.fillText(text, LEFT + at, TOP + plot + away); });
    pen.textAlign = "right";
    axis(view.y, function (at, text, away) { pen.fillText(text, LEFT - away + 6, TOP + at); });
    figure.querySelector(".shown").textContent = "positions " + range(view.y, view.y + view.size) + " attend to positions " + range(view.x, view.x + view.size) +
      "; strongest colour: at least " + (100 * data.layers[layer.value].top).toPrecision(2) + " % of a row";
    canvas.style.touchAction = view.size < length ? "none" : "pan-x pan-y"; // one finger scrolls the page unless the map is zoomed
  }
  function show(x, y, size) {
    view.size = Math.min(length, Math.max(Math.min(length, 8), size));
    view.x = Math.min(Math.max(first, x), first + length - view.size);
    view.y = Math.min(Math.max(first, y), first + length - view.size);
    draw();
  }
  function zoom(factor, across, down) { // the positions at these fractions of the map stay where they are
    var size = Math.min(length, Math.max(Math.min(length, 8), view.size * factor));
    show(view.x + across * (view.size - size), view.y + down * (view.size - size), size);
  }
  function position(event) {
    var box = canvas.getBoundingClientRect();
    return { across: (event.clientX - box.left - LEFT) / plot, down: (event.clientY - box.top - TOP) / plot };
  }
  figure.querySelectorAll("button").forEach(function (button) {
    button.addEventListener("click", function () {
      if (button.dataset.zoom === "all") { show(first, first, length); } else { zoom(Number(button.dataset.zoom), 0.5, 0.5); }
    });
  });
  layer.addEventListener("change", draw);
  canvas.addEventListener("keydown", function (event) {
    var step = view.size / 8, moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }, move = moves[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) { return; }
    if (move) { show(view.x + move[0], view.y + move[1], view.size); }
    else if (event.key === "+" || event.key === "=") { zoom(0.5, 0.5, 0.5); }
    else if (event.key === "-") { zoom(2, 0.5, 0.5); }
    else if (event.key === "0") { show(first, first, length); }
    else { return; }
    event.preventDefault();
  });
  canvas.addEventListener("wheel", function (event) {
    if (document.activeElement !== canvas) { return; } // so that the page can be scrolled past the map
    var at = position(event);
    zoom(event.deltaY < 0 ? 0.8 : 1.25, at.across, at.down);
    event.preventDefault();
  }, { passive: false });
  var held = new Map(); // pointer -> its position
  canvas.addEventListener("pointerdown", function (event) { canvas.setPointerCapture(event.pointerId); held.set(event.pointerId, position(event)); });
  ["pointerup", "pointercancel"].forEach(function (end) { canvas.addEventListener(end, function (event) { held.delete(event.pointerId); }); });
  function drag(event, at) {
    var was = held.get(event.pointerId), other = Array.from(held).filter(function (each) { return each[0] !== event.pointerId; }).map(function (each) { return each[1]; })[0];
    held.set(event.pointerId, at);
    if (!other) { show(view.x - (at.across - was.across) * view.size, view.y - (at.down - was.down) * view.size, view.size); return; }
    function away(at) { return Math.max(0.02, Math.hypot(at.across - other.across, at.down - other.down)); }
    zoom(away(was) / away(at), other.across, other.down); // what is under the other finger stays there
  }
  canvas.addEventListener("pointermove", function (event) {
    var at = position(event), pointed = figure.querySelector(".pointed");
    if (held.has(event.pointerId)) { drag(event, at); }
    if (at.across < 0 || at.across >= 1 || at.down < 0 || at.down >= 1) { pointed.textContent = ""; return; }
    var row = bin(view.y + at.down * view.size), column = bin(view.x + at.across * view.size), shade = shades[layer.value].charCodeAt(row * bins + column);
    pointed.textContent = "positions " + range(edges[row], edges[row + 1]) + sitesIn(edges[row], edges[row + 1]) + " give " + (shade === 255 ? "at least " : "") +
      (100 * shade / 255 * data.layers[layer.value].top).toPrecision(2) + " % of their attention to positions " + range(edges[column], edges[column + 1]) + sitesIn(edges[column], edges[column + 1]);
  });
  window.addEventListener("resize", draw);
  draw();
});
