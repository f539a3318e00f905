"use strict";
// Everything shown is set as text or as an attribute of its own, never parsed as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const grouped = (value) => value.toLocaleString("en-US");

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}
function draw(parent, name, attributes, words) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (words !== undefined) element.textContent = words;
  parent.appendChild(element);
  return element;
}
function shown(value, signed) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  const words = size && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : Number(value.toPrecision(4)).toLocaleString("en-US", { maximumFractionDigits: 20 });
  return (signed && value > 0 ? "+" : "") + words.replaceAll("-", "\u2212");
}
