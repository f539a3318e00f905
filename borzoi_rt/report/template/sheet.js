const STEP = 50;
let limit = STEP, sorted = -1, down = true, rows = [];

const inWords = (value) =>
  Number.isInteger(value) && Math.abs(value) < 1e15 ? grouped(value).replaceAll("-", "\u2212") : shown(value);

// The table
const visible = data.columns.map((column, number) => ({ ...column, number })).filter((column) => column.shown);
const chosen = new Map();
function compare(one, two) {
  const [a, b] = [one[sorted], two[sorted]], [none, other] = [a === null || a === "", b === null || b === ""];
  if (none || other) return none - other; // what is none comes last in both directions
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  return down ? -order : order;
}
function pick() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = data.rows.filter((row) => {
    for (const [number, value] of chosen) if (String(row[number] ?? "") !== value) return false;
    if (!words.length) return true;
    const all = row.filter((cell) => cell !== null).join(" ").toLowerCase();
    return words.every((word) => all.includes(word));
  });
  return sorted < 0 ? found : found.sort(compare);
}
function line(row) {
  return make("tr", {}, ...visible.map(({ number, numeric }) => {
    const words = typeof row[number] === "number" ? inWords(row[number]) : row[number] ?? "";
    return make("td", { class: numeric ? "number" : "", title: String(row[number] ?? "").slice(0, 300) }, words);
  }));
}
function show() {
  rows = pick();
  byId("found").textContent = `${grouped(rows.length)} of ${grouped(data.rows.length)} listed ${data.unit}` + (rows.length > limit ? `, the first ${grouped(limit)} shown` : "");
  document.querySelector("#table tbody").replaceChildren(...rows.slice(0, limit).map(line));
  byId("more").hidden = rows.length <= limit;
  for (const head of document.querySelectorAll("#table th")) {
    if (Number(head.dataset.number) === sorted) head.setAttribute("aria-sort", down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
}
function download() {
  const clean = (cell) => String(cell === null || cell === undefined ? "" : cell).replace(/[\t\r\n]+/g, " ");
  const text = [data.columns.map((column) => column.name), ...rows].map((row) => row.map(clean).join("\t")).join("\n") + "\n";
  const link = make("a", { download: `${data.file.replace(/\.tsv$/, "")}.shown.tsv` });
  link.href = URL.createObjectURL(new Blob([text], { type: "text/tab-separated-values" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
for (const { name, number, numeric } of visible) {
  const button = make("button", { type: "button" }, name);
  button.addEventListener("click", () => {
    down = sorted === number ? !down : numeric;
    sorted = number;
    show();
  });
  const head = make("th", { scope: "col", class: numeric ? "number" : "" }, button);
  head.dataset.number = number;
  document.querySelector("#table thead tr").append(head);
}
data.columns.forEach((column, number) => {
  const values = column.choice ? [...new Set(data.rows.map((row) => String(row[number] ?? "")))].sort() : [];
  if (values.length < 2 || values.length > 200) return;
  const list = make("select", {}, make("option", { value: "0" }, "all"), ...values.map((value, at) => make("option", { value: String(at + 1) }, value || "(empty)")));
  list.addEventListener("change", () => {
    const at = Number(list.value);
    if (at) chosen.set(number, values[at - 1]);
    else chosen.delete(number);
    limit = STEP;
    show();
  });
  byId("choices").append(make("label", {}, column.name, list));
});
byId("search").addEventListener("input", () => { limit = STEP; show(); });
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("download").addEventListener("click", download);
byId("more").addEventListener("click", () => { limit += 4 * STEP; show(); });
show();

// Figures, drawn anew for the width there is
const LEFT = 62, RIGHT = 12;
let WIDE = 560;
function svgOf(figure, tall, label) {
  const svg = draw(figure, "svg", { viewBox: `0 0 ${WIDE} ${tall}`, role: "img", "aria-label": label });
  return svg;
}
function ticks(low, high, count) {
  const rough = (high - low) / count || 1, unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough * (1 - 1e-9));
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Math.abs(at) < step * 1e-9 ? 0 : Number(at.toPrecision(12)));
  return found.length < 2 && count < 20 ? ticks(low, high, count * 2) : found;
}
function range(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value === null) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}
function acrossOf(low, high) {
  const room = WIDE - LEFT - RIGHT;
  return (value) => LEFT + ((value - low) / (high - low)) * room;
}
function under(svg, x, low, high, bottom, words) {
  draw(svg, "path", { class: "axis", d: `M${LEFT} ${bottom}H${WIDE - RIGHT}` });
  for (const at of ticks(low, high, WIDE < 400 ? 5 : 6)) {
    draw(svg, "path", { class: "axis", d: `M${x(at)} ${bottom}v4` });
    draw(svg, "text", { class: "middle", x: x(at), y: bottom + 16 }, inWords(at));
  }
  draw(svg, "text", { class: "middle", x: (LEFT + WIDE - RIGHT) / 2, y: bottom + 32 }, words);
}
function beside(svg, y, low, high, count, words, top, bottom) {
  for (const at of ticks(low, high, count)) {
    draw(svg, "path", { class: "grid", d: `M${LEFT} ${y(at)}H${WIDE - RIGHT}` });
    draw(svg, "text", { class: "end", x: LEFT - 6, y: y(at) + 4 }, inWords(at));
  }
  draw(svg, "text", { class: "middle", transform: `translate(12 ${(top + bottom) / 2}) rotate(-90)` }, words);
}
function path(x, y, at, values) {
  let words = "", open = false;
  values.forEach((value, number) => {
    if (value === null) { open = false; return; }
    words += `${open ? "L" : "M"}${x(at[number]).toFixed(1)} ${y(value).toFixed(1)}`;
    open = true;
  });
  return words;
}
function area(x, y, at, upper, lower) {
  const known = at.map((_, number) => number).filter((number) => upper[number] !== null && lower[number] !== null);
  if (!known.length) return "";
  const there = known.map((number) => `${x(at[number]).toFixed(1)} ${y(upper[number]).toFixed(1)}`);
  const back = known.reverse().map((number) => `${x(at[number]).toFixed(1)} ${y(lower[number]).toFixed(1)}`);
  return `M${[...there, ...back].join("L")}Z`;
}
function readable(figure, svg, x, positions, top, bottom, say) {
  const readout = make("p", { class: "readout muted", "aria-live": "polite" });
  const cursor = draw(svg, "line", { class: "cursor", y1: top, y2: bottom, visibility: "hidden" });
  figure.append(readout);
  svg.setAttribute("tabindex", 0);
  let now = -1;
  function read(number) {
    now = Math.max(0, Math.min(positions.length - 1, number));
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(positions[now]));
    cursor.setAttribute("visibility", "visible");
    readout.textContent = say(now);
  }
  const wide = WIDE; // of this figure; that of the next may differ
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), there = ((event.clientX - box.left) / box.width) * wide;
    let best = 0;
    positions.forEach((position, number) => { if (Math.abs(x(position) - there) < Math.abs(x(positions[best]) - there)) best = number; });
    read(best);
  });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    read(now < 0 ? 0 : now + step);
  });
}
const KINDS = {
  bars(figure, chart) {
    const row = 20, letters = WIDE < 400 ? 16 : 22, names = 6.8 * letters, [low, high] = range([0, ...chart.bars.map(([, value]) => value)]);
    const svg = svgOf(figure, chart.bars.length * row + 6, chart.title);
    const x = (value) => names + ((value - low) / (high - low)) * (WIDE - names - 70);
    chart.bars.forEach(([name, value], number) => {
      const y = number * row + 3, words = name.length > letters ? `${name.slice(0, letters - 1)}\u2026` : name;
      draw(draw(svg, "text", { class: "end title", x: names - 6, y: y + 13 }, words), "title", {}, name);
      if (value === null) return;
      draw(svg, "rect", { class: value < 0 ? "loss" : "gain", x: Math.min(x(0), x(value)), y: y + 2, width: Math.abs(x(value) - x(0)), height: row - 6 });
      draw(svg, "text", { x: Math.max(x(value), x(0)) + 5, y: y + 13 }, inWords(value));
    });
    draw(svg, "path", { class: "axis", d: `M${x(0)} 0V${chart.bars.length * row + 6}` });
  },
  histogram(figure, chart) {
    const { counts, edges } = chart, bottom = 150, most = Math.max(1, ...counts);
    const svg = svgOf(figure, bottom + 38, chart.title), low = edges[0], high = edges[edges.length - 1];
    const x = acrossOf(low, high), y = (count) => bottom - (count / most) * (bottom - 10);
    for (const at of ticks(0, most, 4).filter(Number.isInteger)) {
      draw(svg, "path", { class: "grid", d: `M${LEFT} ${y(at)}H${WIDE - RIGHT}` });
      draw(svg, "text", { class: "end", x: LEFT - 6, y: y(at) + 4 }, grouped(at));
    }
    draw(svg, "text", { class: "middle", transform: `translate(12 ${bottom / 2}) rotate(-90)` }, data.unit);
    counts.forEach((count, at) => {
      const bar = draw(svg, "rect", { class: "bar", x: x(edges[at]), width: Math.max(x(edges[at + 1]) - x(edges[at]) - 1, 0.5), y: y(count), height: bottom - y(count) });
      draw(bar, "title", {}, `${inWords(edges[at])} to ${inWords(edges[at + 1])}: ${count}`);
    });
    under(svg, x, low, high, bottom, chart.x);
  },
  curves(figure, chart) {
    const tall = 92, count = chart.series.length, bottom = count * tall;
    const svg = svgOf(figure, bottom + 38, chart.title);
    const [left, right] = range(chart.series.flatMap((one) => one.at));
    const [low, high] = range([0, ...chart.series.flatMap((one) => [...one.values, ...(one.low || []), ...(one.high || [])])]);
    const x = acrossOf(left, right);
    chart.series.forEach((one, number) => {
      const top = number * tall + 20, end = (number + 1) * tall - 6;
      const y = (value) => end - ((value - low) / (high - low)) * (end - top);
      beside(svg, y, low, high, 2, chart.y, top, end);
      const zeros = one.values.map((value) => (value === null ? null : 0));
      if (one.low) draw(svg, "path", { class: "band", d: area(x, y, one.at, one.high, one.low) });
      else {
        draw(svg, "path", { class: "gain", d: area(x, y, one.at, one.values.map((value) => value && Math.max(value, 0)), zeros) });
        draw(svg, "path", { class: "loss", d: area(x, y, one.at, one.values.map((value) => value && Math.min(value, 0)), zeros) });
      }
      draw(svg, "path", { class: "curve", d: path(x, y, one.at, one.values) });
      draw(svg, "text", { class: "title", x: LEFT, y: top - 6 }, one.name);
      if (left < 0 && right > 0) draw(svg, "path", { class: "marker", d: `M${x(0)} ${top}V${end}` });
    });
    under(svg, x, left, right, bottom, chart.x);
    readable(figure, svg, x, chart.series[0].at, 0, bottom, (at) => `${inWords(chart.series[0].at[at])}: ` + chart.series.map((one) => `${one.name} ${inWords(one.values[at])}`).join(", "));
  },
  lines(figure, chart) {
    const top = 10, bottom = 220, svg = svgOf(figure, bottom + 38, chart.title);
    const [left, right] = range(chart.series.flatMap((one) => one.at)), [low, high] = range([0, ...chart.series.flatMap((one) => one.values)]);
    const x = acrossOf(left, right), y = (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
    beside(svg, y, low, high, 5, chart.y, top, bottom);
    const keys = make("p", { class: "legend" });
    chart.series.forEach((one, number) => {
      const name = `series-${number % 6}`, group = draw(svg, "g", { class: name });
      draw(group, "path", { class: "series", d: path(x, y, one.at, one.values) });
      const key = draw(keys, "svg", { viewBox: "0 0 30 10", "aria-hidden": "true", class: name });
      draw(key, "path", { class: "series", d: "M0 5H30" });
      keys.append(make("span", {}, one.name));
    });
    under(svg, x, left, right, bottom, chart.x);
    figure.append(keys);
    const points = [...new Set(chart.series.flatMap((one) => one.at))].sort((a, b) => a - b);
    readable(figure, svg, x, points, top, bottom, (at) => `${inWords(points[at])}: ` + chart.series.map((one) => {
      let last = null;
      one.at.forEach((value, number) => { if (value <= points[at]) last = one.values[number]; });
      return `${one.name} ${inWords(last) || "\u2013"}`;
    }).join(", "));
  },
};
function figures() {
  byId("charts").replaceChildren();
  const held = data.charts.map((chart) => {
    const figure = make("figure", {}, make("h3", {}, chart.title), make("figcaption", {}, chart.caption));
    byId("charts").append(figure);
    return [chart, figure];
  });
  for (const [chart, figure] of held) {
    WIDE = Math.max(280, Math.floor(figure.clientWidth || 560));
    KINDS[chart.kind](figure, chart);
  }
}
if (data.charts.length) {
  figures();
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; figures(); } });
  addEventListener("beforeprint", figures);
}
