const BASES = "ACGT", WIDE = 1000, LEFT = 64, RIGHT = 12, TALL = 120, CELL = 13, LINE = 100;


// One scale for the scores of all rows, one for all effects
const room = (data.high - data.low || 1) * 0.06;
const low = data.low - (data.low < 0 ? room : 0), high = data.high + room;
const height = (value, tall) => ((high - value) / (high - low)) * tall;

function scale(svg, tall) {
  const zero = height(0, tall);
  draw(svg, "line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: zero, y2: zero });
  for (const value of [data.low, 0, data.high]) {
    if (value && Math.abs(value) < 0.15 * (data.high - data.low)) continue;
    draw(svg, "text", { x: LEFT - 6, y: height(value, tall) + 4, "text-anchor": "end" }, shown(value));
  }
}
function positions(svg, first, count, across, y) {
  let step = 1;
  for (const one of [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000]) {
    step = one;
    if (count / one <= 10) break;
  }
  for (let at = Math.ceil((first + 1) / step) * step; at <= first + count; at += step) {
    draw(svg, "line", { class: "axis", x1: across(at - first - 0.5), x2: across(at - first - 0.5), y1: y, y2: y + 4 });
    draw(svg, "text", { x: across(at - first - 0.5), y: y + 16, "text-anchor": "middle" }, grouped(at));
  }
}
function colour(value) {
  const share = data.limit ? Math.min(Math.abs(value) / data.limit, 1) : 0;
  return { class: value < 0 ? "loss" : "gain", "fill-opacity": share.toFixed(3) };
}

function drawLine(parent, row, line) {
  const count = line.letters.length, wide = (WIDE - LEFT - RIGHT) / LINE, across = (at) => LEFT + at * wide;
  const cells = line.effects ? 4 * CELL + 8 : 0, tall = TALL + cells + 36;
  const where = `${row.chrom}:${grouped(line.start + 1)}-${grouped(line.start + count)}`;
  const name = `Scores of ${where}; arrow keys read one base after the other`;
  const svg = draw(parent, "svg", { viewBox: `0 0 ${WIDE} ${tall}`, role: "img", tabindex: 0, "aria-label": name });
  if (line.marked) {
    const [from, to] = line.marked.map((at) => Math.min(Math.max(at - line.start, 0), count));
    const joint = line.marked[0] === line.marked[1], inside = line.marked[0] >= line.start && line.marked[0] <= line.start + count;
    if (joint && inside) draw(svg, "line", { class: "joint", x1: across(from), x2: across(from), y1: 0, y2: TALL + cells });
    if (to > from) draw(svg, "rect", { class: "shown-part", x: across(from), y: 0, width: across(to) - across(from), height: TALL + cells });
  }
  scale(svg, TALL);
  draw(svg, "text", { transform: `translate(11 ${TALL / 2}) rotate(-90)`, "text-anchor": "middle" }, "score");
  const zero = height(0, TALL);
  for (let at = 0; at < count; at += 1) {
    const base = line.letters[at], score = line.scores[at];
    if (!BASES.includes(base) || !score) continue;
    const size = Math.abs(height(score, TALL) - zero);
    const place = { href: `#base-${base}`, class: `base-${base}`, width: 0.94 * wide, height: size };
    const flip = score < 0 ? ` scale(1 -1)` : "";
    const top = score < 0 ? zero + size : zero - size;
    draw(svg, "use", { ...place, transform: `translate(${across(at + 0.03)} ${top})${flip}` });
  }
  if (line.effects) {
    for (let base = 0; base < 4; base += 1) {
      const y = TALL + 6 + base * CELL;
      draw(svg, "text", { class: `base base-${BASES[base]}`, x: LEFT - 6, y: y + 10, "text-anchor": "end" }, BASES[base]);
      for (let at = 0; at < count; at += 1) {
        const value = line.effects[base * count + at];
        if (value) draw(svg, "rect", { ...colour(value), x: across(at), y, width: wide, height: CELL });
        if (line.letters[at] === BASES[base]) draw(svg, "circle", { class: "there", cx: across(at + 0.5), cy: y + CELL / 2, r: 1.6 });
      }
    }
    draw(svg, "rect", { class: "frame", x: LEFT, y: TALL + 6, width: count * wide, height: 4 * CELL });
  }
  positions(svg, line.start, count, across, TALL + cells);
  draw(svg, "text", { x: across(count / 2), y: TALL + cells + 31, "text-anchor": "middle" }, `position on ${row.chrom}, 1-based`);
  const cursor = draw(svg, "line", { class: "cursor", y1: 0, y2: TALL + cells, visibility: "hidden" });
  const readout = make("p", { class: "readout muted", "aria-live": "polite" });
  parent.append(readout);
  let chosen = -1;
  function read(at) {
    chosen = Math.max(0, Math.min(count - 1, at));
    const x = across(chosen + 0.5);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.setAttribute("visibility", "visible");
    const base = line.letters[chosen];
    let words = `${row.chrom}:${grouped(line.start + chosen + 1)} ${base}: score ${shown(line.scores[chosen], true)}`;
    if (line.effects) {
      const others = [...BASES].map((other, number) => [other, line.effects[number * count + chosen]]);
      const said = others.filter(([other]) => other !== base).map(([other, value]) => `${other} ${shown(value, true) || "?"}`);
      words += `; change of ${data.target} by ${said.join(", ")}`;
    }
    readout.textContent = words;
  }
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    read(Math.floor((((event.clientX - box.left) / box.width) * WIDE - LEFT) / wide));
  });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    read(chosen < 0 ? 0 : chosen + step);
  });
}
function drawWhole(parent, row) {
  const { start, width, at, values } = row.whole, tall = 90;
  const across = (base) => LEFT + (base / width) * (WIDE - LEFT - RIGHT);
  const svg = draw(parent, "svg", { viewBox: `0 0 ${WIDE} ${tall + 24}`, role: "img", "aria-label": "Scores of the whole row; the lines below are shaded" });
  for (const line of row.lines) {
    const first = line.start - start;
    draw(svg, "rect", { class: "shown-part", x: across(first), y: 0, width: Math.max(across(first + line.letters.length) - across(first), 2), height: tall });
  }
  scale(svg, tall);
  draw(svg, "path", { class: "curve", d: values.map((value, number) => `${number ? "L" : "M"}${across(at[number] + 0.5).toFixed(1)} ${height(value || 0, tall).toFixed(1)}`).join("") });
  positions(svg, start, width, across, tall);
}
function drawStretches(parent, number) {
  const rows = data.seqlets.filter((item) => item[0] === number);
  if (!rows.length) {
    parent.append(make("p", { class: "muted" }, "None."));
    return;
  }
  const named = rows.some((item) => item[4] !== null);
  const heads = ["Position", ...(named ? ["Motif", "Strand"] : []), "Attribution", "p", ...(named ? ["Expected by chance", "Agreement"] : [])];
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))));
  const body = make("tbody");
  for (const [, chrom, start, end, name, strand, attribution, p, e, agreement] of rows) {
    const cells = [`${chrom}:${grouped(start + 1)}-${grouped(end)}`, ...(named ? [name || "", strand || ""] : []), shown(attribution, true), shown(p), ...(named ? [shown(e), shown(agreement)] : [])];
    body.append(make("tr", {}, ...cells.map((cell) => make("td", {}, cell))));
  }
  table.append(body);
  parent.append(make("div", { class: "scroll" }, table));
}
for (const element of document.querySelectorAll(".lines")) {
  const row = data.rows[Number(element.dataset.row)];
  for (const line of row.lines) {
    const holder = make("div", { class: "scroll" });
    element.append(holder);
    drawLine(holder, row, line);
  }
}
for (const element of document.querySelectorAll(".whole")) drawWhole(element, data.rows[Number(element.dataset.row)]);
for (const element of document.querySelectorAll(".stretches")) drawStretches(element, data.rows[Number(element.dataset.row)].row);
document.getElementById("download").addEventListener("click", () => {
  const lines = [data.columns, ...data.seqlets].map((row) => row.map((cell) => (cell === null ? "" : String(cell).replace(/[\t\r\n]/g, " "))).join("\t"));
  const link = make("a", { href: URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/tab-separated-values" })), download: "stretches.tsv" });
  link.click();
  URL.revokeObjectURL(link.href);
});
