"use strict";
// The map of the report: layers, zoom, pan, scale bar. The page is whole without it; then the map stands still.
(() => {
  const root = document.documentElement;
  root.classList.remove("nojs");
  const view = document.getElementById("view");
  if (!view) return;
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const where = document.getElementById("where");
  const hint = document.getElementById("hint");
  const scale = document.getElementById("scale");
  const MOST = 60;

  // Pixels of the screen per map unit, and the map unit in the middle.
  let zoom = 1, x = data.width / 2, y = data.height / 2;

  const size = () => ({ width: view.clientWidth || 1, height: view.clientHeight || 1 });
  const fit = () => Math.min(size().width / data.width, size().height / data.height);
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function draw() {
    const { width, height } = size();
    const least = fit();
    zoom = clamp(zoom, least, least * MOST);
    const half = { x: width / 2 / zoom, y: height / 2 / zoom };
    x = half.x * 2 >= data.width ? data.width / 2 : clamp(x, half.x, data.width - half.x);
    y = half.y * 2 >= data.height ? data.height / 2 : clamp(y, half.y, data.height - half.y);
    view.setAttribute("viewBox", [x - half.x, y - half.y, 2 * half.x, 2 * half.y].map(n => +n.toFixed(2)).join(" "));
    view.classList.toggle("near", zoom > least * 1.01);
    view.style.setProperty("--dot", `${clamp(1.6 * Math.sqrt(zoom / least) * width / 640, 1.5, 9).toFixed(1)}px`);
    bar(x - half.x, y + half.y);
  }

  // The bar is part of the drawing, so it stays true when the page is printed at another size.
  function bar(left, bottom) {
    const metres = nice(110 / zoom * data.unit_m);
    const length = metres / data.unit_m, px = 1 / zoom;
    const at = (name, values) => {
      const part = scale.querySelector(name);
      for (const [key, value] of Object.entries(values)) part.setAttribute(key, value);
      return part;
    };
    const x0 = left + 14 * px, y0 = bottom - 18 * px;
    at(".bar", { x: x0, y: y0, width: length, height: 7 * px, "stroke-width": 1.2 * px });
    at(".half", { x: x0, y: y0, width: length / 2, height: 7 * px });
    at("text", { x: x0, y: y0 - 5 * px, "font-size": 14 * px, "stroke-width": 3 * px })
      .textContent = metres >= 1000 ? `${metres / 1000} km` : metres >= 1 ? `${metres} m` : `${+(metres * 100).toPrecision(3)} cm`;
  }

  function nice(most) {
    const power = 10 ** Math.floor(Math.log10(most));
    return +([5, 2, 1].find(step => step * power <= most * (1 + 1e-9)) * power).toPrecision(6);
  }

  // Zoom so that the place under (px, py) of the screen stays where it is.
  function zoomAt(factor, px = size().width / 2, py = size().height / 2) {
    const before = place(px, py);
    zoom = clamp(zoom * factor, fit(), fit() * MOST);
    x = before.x - (px - size().width / 2) / zoom;
    y = before.y - (py - size().height / 2) / zoom;
    draw();
  }

  const place = (px, py) => ({ x: x + (px - size().width / 2) / zoom, y: y + (py - size().height / 2) / zoom });
  const local = event => {
    const box = view.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const whole = () => { zoom = fit(); x = data.width / 2; y = data.height / 2; draw(); };
  const move = (dx, dy) => { x -= dx / zoom; y -= dy / zoom; draw(); };

  view.addEventListener("wheel", event => {
    if (!(event.ctrlKey || event.metaKey || document.activeElement === view)) {
      hint.textContent = "Click the map first, then the wheel zooms; or hold Ctrl.";
      return;
    }
    event.preventDefault();
    zoomAt(2 ** (-clamp(event.deltaY, -240, 240) / (event.ctrlKey ? 120 : 300)), ...local(event));
  }, { passive: false });

  const fingers = new Map();
  view.addEventListener("pointerdown", event => {
    fingers.set(event.pointerId, local(event));
    if (event.pointerType === "mouse" || fingers.size > 1 || view.classList.contains("near")) view.setPointerCapture(event.pointerId);
    view.classList.add("moving");
  });
  view.addEventListener("pointermove", event => {
    tell(event);
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = local(event);
    if (fingers.size === 1) {
      fingers.set(event.pointerId, now);
      move(now[0] - before[0], now[1] - before[1]);
      return;
    }
    const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
    const apart = point => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    const middle = point => [(point[0] + other[0]) / 2, (point[1] + other[1]) / 2];
    fingers.set(event.pointerId, now);
    move(middle(now)[0] - middle(before)[0], middle(now)[1] - middle(before)[1]);
    zoomAt(apart(now) / apart(before), ...middle(now));
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    view.addEventListener(name, event => {
      fingers.delete(event.pointerId);
      if (!fingers.size) view.classList.remove("moving");
    });
  }
  view.addEventListener("dblclick", event => zoomAt(event.shiftKey ? 0.5 : 2, ...local(event)));

  const keys = {
    "+": () => zoomAt(1.5), "=": () => zoomAt(1.5), "-": () => zoomAt(1 / 1.5), "0": whole, "Home": whole,
    "ArrowLeft": () => move(80, 0), "ArrowRight": () => move(-80, 0), "ArrowUp": () => move(0, 80), "ArrowDown": () => move(0, -80),
  };
  view.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.getElementById("zoom-in").addEventListener("click", () => zoomAt(1.7));
  document.getElementById("zoom-out").addEventListener("click", () => zoomAt(1 / 1.7));
  document.getElementById("zoom-whole").addEventListener("click", whole);

  function tell(event) {
    if (data.nominal) return;
    const found = place(...local(event));
    const east = data.left_m + found.x * data.unit_m, north = data.top_m - found.y * data.unit_m;
    where.textContent = `E ${east.toFixed(2)}  N ${north.toFixed(2)}  (${data.crs})`;
  }

  for (const box of document.querySelectorAll(".layer input[type=checkbox]")) {
    const layer = document.getElementById(`map-${box.value}`);
    const show = () => {
      layer.style.display = box.checked ? "" : "none";
      box.closest(".layer").classList.toggle("off", !box.checked);
    };
    box.addEventListener("change", show);
    show(); // a browser that comes back to the page keeps the boxes as they were
  }
  for (const slider of document.querySelectorAll(".layer input[type=range]")) {
    const layer = document.getElementById(`map-${slider.dataset.layer}`);
    const set = () => { layer.style.opacity = slider.value / 100; };
    slider.addEventListener("input", set);
    set();
  }

  let least = fit();
  zoom = least;
  draw();
  new ResizeObserver(() => {
    zoom *= fit() / least;
    least = fit();
    draw();
  }).observe(view);
})();
