const WIDE = 1000, TALL = 120;
const choices = {}, seconds = {};
let number = 0, since = performance.now();

function drawLogo(parent, logo, side) {
  parent.replaceChildren();
  const high = Math.max(...logo.scores, 0), low = Math.min(...logo.scores, 0), scale = TALL / (high - low || 1);
  const name = `Logo on the ${side}: ${logo.letters}`;
  const svg = draw(parent, "svg", { viewBox: `0 0 ${WIDE} ${TALL}`, role: "img", "aria-label": name });
  const zero = high * scale, wide = WIDE / logo.letters.length;
  draw(svg, "line", { class: "grid", x1: 0, x2: WIDE, y1: zero, y2: zero, stroke: "currentColor", "stroke-width": 0.5 });
  logo.scores.forEach((score, column) => {
    const base = logo.letters[column];
    if (!"ACGT".includes(base) || !score) return;
    const size = Math.abs(score) * scale;
    const top = score < 0 ? zero + size : zero - size, flip = score < 0 ? " scale(1 -1)" : "";
    const shape = { href: `#base-${base}`, class: `base-${base}`, width: 0.94 * wide, height: size };
    draw(svg, "use", { ...shape, transform: `translate(${(column + 0.03) * wide} ${top})${flip}` });
  });
}
function result() {
  const rater = byId("rater").value.trim();
  return JSON.stringify({ format: data.format, version: data.version, page: data.page, rater, choices, seconds }, null, 1);
}
function show() {
  const pair = data.pairs[number], done = Object.keys(choices).length;
  for (const side of ["left", "right"]) {
    drawLogo(byId(side), pair[side], side);
    byId(`choose-${side}`).setAttribute("aria-pressed", String(choices[pair.id] === side));
  }
  byId("progress").textContent = `Pair ${number + 1} of ${data.pairs.length}; ${done} rated`;
  byId("back").disabled = number === 0;
  byId("download").disabled = done < data.pairs.length;
  byId("result").textContent = result();
  since = performance.now();
}
function choose(side) {
  const id = data.pairs[number].id;
  seconds[id] = Number(((seconds[id] || 0) + (performance.now() - since) / 1000).toFixed(2));
  choices[id] = side;
  if (number < data.pairs.length - 1) number += 1;
  show();
}
for (const side of ["left", "right"]) byId(`choose-${side}`).addEventListener("click", () => choose(side));
byId("back").addEventListener("click", () => { number -= 1; show(); });
byId("rater").addEventListener("input", () => { byId("result").textContent = result(); });
document.addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLInputElement) return;
  const side = { ArrowLeft: "left", ArrowRight: "right" }[event.key];
  if (side) { event.preventDefault(); choose(side); }
});
byId("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([result() + "\n"], { type: "application/json" }));
  link.download = `rating-${byId("rater").value.trim().replace(/[^A-Za-z0-9_-]+/g, "_") || "anonymous"}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
});
show();
