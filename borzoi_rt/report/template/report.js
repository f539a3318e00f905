const [CHROM, POS, ID, REF, ALT, STATUS, REASON, WHOSE, DETAIL, BEST] = Array(10).keys();
const text = (number) => data.texts[number];
const STEP = 25;
let rank = data.by, limit = STEP, rows = [];

const short = (bases) => (bases.length > 12 ? bases.slice(0, 10) + "\u2026 (" + bases.length + " bp)" : bases);
const sizeOf = (row) => (row[BEST][rank] ? Math.abs(row[BEST][rank][0]) : -1);

// The ranked table
function chosen() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const status = byId("status").value, least = Number(byId("least").value) || 0;
  return data.alleles
    .map((row, number) => ({ row, number }))
    .sort((one, two) => sizeOf(two.row) - sizeOf(one.row) || one.number - two.number)
    .map(({ row }, number) => ({ row, rank: number + 1 }))
    .filter(({ row }) => {
      if (status && text(row[STATUS]) !== status) return false;
      if (least > 0 && !(sizeOf(row) >= least)) return false;
      if (!words.length) return true;
      const best = row[BEST][rank] || null;
      const named = `${text(row[CHROM])}:${row[POS]}`;
      const held = [`${named}:${row[REF]}:${row[ALT]}`, `${named}:${row[REF]}>${row[ALT]}`, row[ID], text(row[WHOSE]), text(row[STATUS])];
      if (best) held.push(text(best[1]), text(best[2]), text(best[3]));
      const all = held.join(" ").toLowerCase();
      return words.every((word) => all.includes(word.replace(/,/g, "")));
    })
    .sort((one, two) => (byId("order").value === "position" ? apart(one.row, two.row) : 0));
}
const places = new Map(data.alleles.map((row) => text(row[CHROM])).sort((one, two) => one.localeCompare(two, "en", { numeric: true })).map((name, number) => [name, number]));
const apart = (one, two) => places.get(text(one[CHROM])) - places.get(text(two[CHROM])) || one[POS] - two[POS];
function besideOf(best) {
  return data.beside.map((name, number) => [name, best[4 + number]]).filter(([, value]) => value !== null && value !== undefined);
}
function line({ row, rank: number }) {
  const best = row[BEST][rank] || null;
  const name = `${text(row[CHROM])}:${grouped(row[POS])} ${short(row[REF])}>${short(row[ALT])}`;
  const full = `${text(row[CHROM])}:${row[POS]}:${row[REF]}:${row[ALT]}`.slice(0, 300);
  const called = row[DETAIL] >= 0 ? make("a", { href: `#variant-${row[DETAIL] + 1}`, class: "allele", title: full }, name) : make("span", { class: "allele", title: full }, name);
  const under = [row[ID] === "." ? "" : row[ID], text(row[WHOSE])].filter(Boolean).join(" ");
  const gene = best ? text(best[3]) : "";
  const label = best && !text(best[2]).endsWith(text(best[1])) ? make("small", {}, text(best[2])) : null;
  const where = best ? [make("span", {}, [gene, text(best[1])].filter(Boolean).join(", ")), ...(label ? [label] : [])] : [];
  const more = best ? besideOf(best).map(([key, value]) => `${key} ${shown(value)}`).join(", ") : "";
  return make("tr", {},
    make("td", { class: "number" }, best ? String(number) : "\u2013"),
    make("td", {}, called, under ? make("small", {}, under) : null),
    make("td", { class: "number" }, best ? shown(best[0], true) : "", more ? make("small", {}, more) : null),
    make("td", {}, ...where),
    make("td", { title: text(row[REASON]) }, text(row[STATUS])));
}
function show() {
  rows = chosen();
  byId("score-name").textContent = data.scores[rank] || "Score";
  const meaning = data.meanings[rank] || "", letters = / [RA]\b/.test(meaning) ? ` (R, A: coverage of REF and ALT${data.scores[rank].includes("@") ? " in the region" : ""})` : "";
  const joined = data.joinings[rank] ? `. A pair of strands, like RNA+/-, is one row: ${data.joinings[rank]}.` : "";
  byId("meaning").textContent = meaning && `${data.scores[rank]}: ${meaning}${letters}${joined}`;
  byId("found").textContent = `${grouped(rows.length)} of ${grouped(data.alleles.length)} listed alleles` + (rows.length > limit ? `, the first ${limit} shown` : "");
  document.querySelector("#variants tbody").replaceChildren(...rows.slice(0, limit).map(line));
  byId("more").hidden = rows.length <= limit;
}
function download() {
  const clean = (cell) => String(cell === null || cell === undefined ? "" : cell).replace(/[\t\r\n]+/g, " ");
  const header = ["rank", "chrom", "pos", "id", "ref", "alt", "status", "status_detail", "whose"];
  for (const score of data.scores) header.push(score, `${score}.track_id`, `${score}.gene`, ...data.beside.map((name) => `${score}.${name}`));
  const lines = [header.join("\t")];
  for (const { row, rank: number } of rows) {
    const cells = [number, text(row[CHROM]), row[POS], row[ID], row[REF], row[ALT], text(row[STATUS]), text(row[REASON]), text(row[WHOSE])];
    for (const best of row[BEST]) cells.push(...(best ? [best[0], text(best[1]), text(best[3]), ...best.slice(4)] : Array(3 + data.beside.length).fill("")));
    lines.push(cells.map(clean).join("\t"));
  }
  const link = make("a", { download: "variants.tsv" });
  link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/tab-separated-values" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Figures, drawn anew for the width there is
function svgOf(figure, height, label) {
  const width = Math.max(240, Math.floor(figure.clientWidth || 600));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  return [svg, width];
}
function ticks(low, high, count) {
  const rough = (high - low) / count || 1, unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Math.abs(at) < step * 1e-9 ? 0 : Number(at.toPrecision(12)));
  return found.length < 2 && count < 20 ? ticks(low, high, count * 2) : found;
}
function histogram(figure, number) {
  const { counts, edges } = data.histograms[number];
  const [svg, width] = svgOf(figure, 150, `Distribution of ${data.scores[number]}`);
  const left = 46, right = width - 10, top = 8, bottom = 118;
  const most = Math.log10(1 + Math.max(...counts)), low = edges[0], high = edges[edges.length - 1];
  const x = (value) => left + ((value - low) / (high - low)) * (right - left);
  const y = (count) => bottom - (Math.log10(1 + count) / most) * (bottom - top);
  counts.forEach((count, at) => {
    if (!count) return;
    const bar = draw(svg, "rect", { class: "bar", x: x(edges[at]), width: Math.max(x(edges[at + 1]) - x(edges[at]) - 1, 0.5), y: y(count), height: bottom - y(count) });
    draw(bar, "title", {}, `${shown(edges[at])} to ${shown(edges[at + 1])}: ${count}`);
  });
  draw(svg, "path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` });
  const marks = Math.max(...counts) < 20 ? [1, 2, 5, 10] : [1, 10, 100, 1000, 10000, 100000, 1000000];
  for (const count of marks.filter((at) => at <= Math.max(...counts))) draw(svg, "text", { x: left - 5, y: y(count) + 4, "text-anchor": "end" }, grouped(count));
  for (const at of ticks(low, high, width < 360 ? 4 : 6)) {
    draw(svg, "path", { class: "axis", d: `M${x(at)} ${bottom}v4` });
    draw(svg, "text", { x: x(at), y: bottom + 16, "text-anchor": "middle" }, shown(at));
  }
  draw(svg, "text", { x: (left + right) / 2, y: 147, "text-anchor": "middle" }, data.scores[number]);
  draw(svg, "text", { transform: `translate(11 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, "alleles");
  figure.querySelector("svg")?.remove();
  figure.append(svg);
}
// x gives the ends of a step; where bases are deleted, one does not begin where the last one ended
function area(x, y, values, zero) {
  let path = `M${x(0)[0]} ${zero}`;
  values.forEach((value, at) => {
    const [from, to] = x(at);
    if (at && from !== x(at - 1)[1]) path += `V${zero}H${from}`;
    path += `L${from} ${y(value)}H${to}`;
  });
  return path + `V${zero}Z`;
}
function stairs(x, y, values) {
  return values.map((value, at) => `${at && x(at)[0] === x(at - 1)[1] ? "L" : "M"}${x(at)[0]} ${y(value)}H${x(at)[1]}`).join("");
}
function packed(genes, x, start, end, room) {
  const ends = [];
  return genes
    .map(([name, strand, exons]) => ({ name, strand, exons, low: exons[0][0], high: exons[exons.length - 1][1] }))
    .filter((gene) => gene.high > start && gene.low < end)
    .map((gene) => {
      const from = Math.max(x(gene.low), x(start)), to = Math.min(x(gene.high), x(end));
      const words = gene.name.length * 6.2 + 14, middle = Math.min(Math.max((from + to) / 2, x(start) + words / 2), x(end) - words / 2);
      const left = Math.min(from, middle - words / 2), right = Math.max(to, middle + words / 2);
      let lane = ends.findIndex((taken) => taken + 8 < left);
      if (lane < 0) lane = ends.push(-Infinity) - 1;
      ends[lane] = right;
      return { ...gene, from, to, middle, lane };
    })
    .filter((gene) => gene.lane < room);
}
function coverage(box, detail, view) {
  const picture = detail.picture, curves = picture[view], count = curves.ref[0].length;
  const figure = box.querySelector("figure"), readout = box.querySelector(".readout");
  const [seam, gone] = curves.gap || [0, 0];
  const inside = seam > 0 && seam < count;
  const first = curves.start + (seam <= 0 ? gone : 0); // of the first step; behind a deletion steps are moved by it
  const beginOf = (at) => first + at * curves.step + (inside && at >= seam ? gone : 0);
  const [start, end] = [first, beginOf(count - 1) + curves.step];
  const width0 = Math.max(240, Math.floor(figure.clientWidth || 600)), narrow = width0 < 520;
  const left = 52, right = width0 - 8, tall = 74, diff = 40, gap = 32;
  const px = (bp) => left + ((bp - start) / (end - start)) * (right - left);
  const genes = packed(picture.genes, px, start, end, 8);
  const lanes = genes.length ? Math.max(...genes.map((gene) => gene.lane)) + 1 : 0;
  const models = lanes ? lanes * 25 + 8 : 0;
  const height = models + picture.tracks.length * (tall + diff + gap) + 46;
  const [svg, width] = svgOf(figure, height, `Coverage of REF and ALT around ${detail.name}, ${picture.tracks.length} tracks`);
  svg.setAttribute("tabindex", "0");
  for (const gene of genes) {
    const y = gene.lane * 25 + 20;
    draw(svg, "path", { class: "gene-line", d: `M${gene.from} ${y}H${gene.to}` });
    for (let at = gene.from + 9; at < gene.to - 4 && gene.strand !== "."; at += 14) {
      const way = gene.strand === "-" ? 3 : -3;
      draw(svg, "path", { class: "gene-line", d: `M${at + way} ${y - 3}L${at} ${y}L${at + way} ${y + 3}` });
    }
    for (const [low, high] of gene.exons) {
      if (high <= start || low >= end) continue;
      const from = Math.max(px(low), left), to = Math.min(px(high), right);
      draw(svg, "rect", { class: "gene", x: from, y: y - 5, width: Math.max(to - from, 1), height: 10 });
    }
    draw(svg, "text", { class: "gene-name", x: gene.middle, y: y - 9, "text-anchor": "middle" }, gene.name + (gene.strand === "+" ? " \u2192" : gene.strand === "-" ? " \u2190" : ""));
  }
  const x = (at) => [px(beginOf(at)), px(beginOf(at) + curves.step)];
  picture.tracks.forEach((name, track) => {
    const ref = curves.ref[track], alt = curves.alt[track], delta = alt.map((value, at) => value - ref[at]);
    const top = models + track * (tall + diff + gap) + 18, bottom = top + tall, middle = bottom + 6 + diff / 2;
    const most = Math.max(...ref, ...alt) || 1, far = Math.max(...delta.map(Math.abs)) || 1;
    const y = (value) => bottom - (value / most) * tall, dy = (value) => middle - (value / far) * (diff / 2);
    const room = Math.floor((right - left) / 6.3);
    const words = draw(svg, "text", { class: "title", x: left, y: top - 6 }, name.length > room ? name.slice(0, room - 1) + "\u2026" : name);
    draw(words, "title", {}, name);
    draw(svg, "path", { class: "ref-area", d: area(x, y, ref, bottom) });
    draw(svg, "path", { class: "alt-line", d: stairs(x, y, alt) });
    draw(svg, "path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` });
    draw(svg, "text", { x: left - 5, y: top + 9, "text-anchor": "end" }, shown(most));
    draw(svg, "text", { x: left - 5, y: bottom, "text-anchor": "end" }, "0");
    draw(svg, "path", { class: "gain", d: area(x, dy, delta.map((value) => Math.max(value, 0)), middle) });
    draw(svg, "path", { class: "loss", d: area(x, dy, delta.map((value) => Math.min(value, 0)), middle) });
    draw(svg, "path", { class: "grid", d: `M${left} ${middle}H${right}` });
    draw(svg, "text", { x: left - 5, y: middle - diff / 2 + 9, "text-anchor": "end" }, shown(far, true));
    draw(svg, "text", { x: left - 5, y: middle + diff / 2, "text-anchor": "end" }, shown(-far));
  });
  const last = height - 40;
  draw(svg, "path", { class: "axis", d: `M${left} ${last}H${right}` });
  for (const at of ticks(start + 1, end, narrow ? 2 : 6)) {
    draw(svg, "path", { class: "axis", d: `M${px(at - 1)} ${last}v4` });
    draw(svg, "text", { x: Math.min(Math.max(px(at - 1), left + 26), right - 30), y: last + 16, "text-anchor": "middle" }, grouped(at));
  }
  draw(svg, "text", { x: (left + right) / 2, y: last + 34, "text-anchor": "middle" }, `position on ${detail.chrom}, bp`);
  const mark = px(detail.pos - 1 + detail.ref_bp / 2);
  if (mark >= left && mark <= right) draw(svg, "path", { class: "marker", d: `M${mark} ${models ? 2 : 10}V${last}` });
  svg.append(...svg.querySelectorAll(".title, .gene-name")); // names stay readable over the mark of the variant
  const cursor = draw(svg, "path", { class: "cursor", d: "" });
  let at = -1;
  const point = (number) => {
    at = Math.min(Math.max(number, 0), count - 1);
    const from = beginOf(at);
    cursor.setAttribute("d", `M${px(from + curves.step / 2)} ${models}V${last}`);
    readout.textContent = `${detail.chrom}:${grouped(from + 1)}\u2013${grouped(from + curves.step)}  ` + picture.tracks
      .map((name, track) => `${name.split(" ")[0]}: REF ${shown(curves.ref[track][at])}, ALT ${shown(curves.alt[track][at])}, ${shown(curves.alt[track][at] - curves.ref[track][at], true)}`).join(" \u00b7 ");
  };
  const stepAt = (bp) => {
    if (inside && bp >= beginOf(seam)) return Math.floor((bp - first - gone) / curves.step);
    return Math.min(Math.floor((bp - first) / curves.step), inside ? seam - 1 : count - 1); // in the gap, the last before it
  };
  svg.addEventListener("pointermove", (event) => {
    const frame = svg.getBoundingClientRect();
    point(stepAt(start + ((((event.clientX - frame.left) * width) / frame.width - left) / (right - left)) * (end - start)));
  });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    point(at < 0 ? stepAt(detail.pos - 1) : at + step);
  });
  figure.querySelector("svg")?.remove();
  figure.prepend(svg);
}
function bars(list, title) {
  const far = Math.max(...list.map((item) => Math.abs(item.value || 0))) || 1;
  const items = list.map(({ label, hint, value }) => {
    const fill = make("span", { class: `fill ${value < 0 ? "down" : "up"}` });
    const share = (Math.abs(value || 0) / far) * 50;
    fill.style.width = `${share}%`;
    fill.style.left = value < 0 ? `${50 - share}%` : "50%";
    return make("li", {}, make("span", { class: "label", title: hint }, label), make("span", { class: "room", "aria-hidden": "true" }, fill), make("span", { class: "number" }, shown(value, true)));
  });
  return make("div", {}, make("h4", {}, title), make("ul", { class: "bars" }, ...items));
}
function motifs(detail) {
  if (!detail.explained) return null;
  if (!detail.motifs.length) return make("p", { class: "muted" }, "Motifs: none of those given changes.");
  const match = (item, side) => (item[`${side}_bases`] ? `${shown(item[`${side}_score`])} ${item[`${side}_bases`]} (${item[`${side}_strand`]})` : "");
  const lines = detail.motifs.slice(0, 12).map((item) => make("tr", {}, make("th", { scope: "row" }, item.motif_name || item.motif, item.motif_name ? make("small", { class: "muted" }, " " + item.motif) : null), make("td", { class: item.change }, item.change), make("td", { class: "number" }, shown(item.difference, true)), make("td", {}, match(item, "ref")), make("td", {}, match(item, "alt"))));
  const head = make("thead", {}, make("tr", {}, ...["Motif", "Change", "ALT \u2212 REF", "Best match of REF", "Best match of ALT"].map((name, at) => make("th", { scope: "col", class: at === 2 ? "number" : "" }, name))));
  return make("div", {}, make("h4", {}, `Motifs that change (${detail.motifs.length}), by log2 odds of the best match`), make("table", { class: "motifs" }, head, make("tbody", {}, ...lines)));
}
const redraw = [];
function detailOf(detail, number) {
  const title = make("h3", {}, `${number + 1}. ${detail.name.length > 80 ? detail.name.slice(0, 79) + "\u2026" : detail.name}`, detail.id ? ` ${detail.id}` : "");
  const box = make("article", { class: "detail", id: `variant-${number + 1}`, tabindex: "-1" }, make("header", {}, title));
  const label = (bar) => [bar[3], bar[1].includes(":") ? bar[1] : bar[0]].filter(Boolean).join(", ");
  const score = data.scores[data.by];
  if (detail.picture) {
    const step = detail.picture.whole.step / detail.picture.bin;
    const names = { near: "Near the variant", whole: "Whole output" };
    let view = "near";
    const caption = make("figcaption", {});
    const buttons = Object.entries(names).map(([name, words]) => {
      const button = make("button", { type: "button", "aria-pressed": String(name === view) }, words);
      button.addEventListener("click", () => { view = name; refresh(); });
      return [name, button];
    });
    box.querySelector("header").append(make("div", { class: "views", role: "group", "aria-label": "Part of the output" }, ...buttons.map(([, button]) => button)));
    box.append(make("p", { class: "readout" }), make("figure", {}, caption));
    const refresh = () => {
      for (const [name, button] of buttons) button.setAttribute("aria-pressed", String(name === view));
      const mean = view === "whole" && step > 1 ? `; each step is the mean of ${step} bins` : "";
      const more = detail.picture.more_genes ? ` ${detail.picture.more_genes} more genes are not drawn.` : "";
      caption.textContent = `Predicted coverage per bin of ${detail.picture.bin} bp${mean}, the tracks with the strongest ${score}; below each track ALT \u2212 REF. Scales differ between tracks. Point at the figure, or focus it and press the arrow keys, to read values.${more}`;
      coverage(box, detail, view);
    };
    redraw.push(refresh);
  } else if (detail.note) box.append(make("p", { class: "note" }, detail.note));
  const list = detail.bars.map((bar) => ({ label: label(bar), hint: [bar[0], bar[1], ...data.beside.map((name, at) => `${name} ${shown(bar[4 + at])}`)].join(" \u00b7 "), value: bar[2] }));
  const few = list.length < detail.tracks ? `, the ${list.length} strongest of ${grouped(detail.tracks)} tracks` : "";
  const groupBars = (rows) => rows.map(([name, count, median, best]) => ({ label: `${name} (${grouped(count)})`, hint: `${count} tracks, median ${shown(median, true)}`, value: best }));
  const tissues = detail.tissues.length ? bars(groupBars(detail.tissues), `Strongest ${score} by tissue or cell (tracks)`) : null;
  box.append(make("div", { class: "halves" }, bars(list, `${score} by track${few}`), make("div", {}, bars(groupBars(detail.assays), `Strongest ${score} by assay (tracks)`), ...(tissues ? [tissues] : []))));
  const changed = motifs(detail);
  if (changed) box.append(changed);
  return box;
}

data.scores.forEach((name, number) => byId("rank").append(make("option", { value: number }, name)));
byId("rank").value = String(rank);
byId("status").append(make("option", { value: "" }, "all"), ...[...new Set(data.alleles.map((row) => text(row[STATUS])))].map((name) => make("option", {}, name)));
for (const id of ["search", "status", "least", "order"]) byId(id).addEventListener("input", () => { limit = STEP; show(); });
byId("rank").addEventListener("input", () => { rank = Number(byId("rank").value); show(); });
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("download").addEventListener("click", download);
byId("more").addEventListener("click", () => { limit += 100; show(); });
show();
data.histograms.forEach((item, number) => {
  if (!item.counts.length && !("only" in item)) return;
  const words = "only" in item ? `${data.scores[number]}: all are ${shown(item.only, true)}, so no distribution is drawn.` : data.scores[number];
  const figure = make("figure", {}, make("figcaption", {}, words));
  byId("histograms").append(figure);
  if ("only" in item) return;
  redraw.push(() => histogram(figure, number));
});
data.details.forEach((detail, number) => byId("detail-list").append(detailOf(detail, number)));
const all = () => redraw.forEach((work) => work());
all();
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; all(); } });
addEventListener("beforeprint", all);
