// source.js -- shows Lua source line by line: in colours, with new lines and errors marked.

const KEYWORDS = new Set(("and break do else elseif end false for function goto if in local nil "
  + "not or repeat return then true until while").split(" "));

// A comment, a string, a number, a word, or one character.
const TOKEN = new RegExp([
  /(?<comment>--.*)/,
  /(?<string>"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?)/,
  /(?<number>\b(?:0x[\da-f]+|\d+\.?\d*)\b)/,
  /(?<word>[a-z_]\w*)/,
  /./,
].map((part) => part.source).join("|"), "gi");

// Adds a line of Lua to an element.
export function paint(item, line) {
  for (const { 0: text, groups } of line.matchAll(TOKEN)) {
    const kind = ["comment", "string", "number"].find((name) => groups[name] !== undefined)
      ?? (KEYWORDS.has(groups.word) ? "keyword" : "");
    if (!kind) {
      item.append(text);
      continue;
    }
    const span = document.createElement("span");
    span.className = kind;
    span.textContent = text;
    item.append(span);
  }
}

// Which lines of `after` are not in `before`: what is left between a common beginning and a common
// end.
function changedLines(before, after) {
  let first = 0;
  while (first < after.length && before[first] === after[first]) first += 1;
  const most = Math.min(before.length, after.length) - first;
  let end = 0;
  while (end < most && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  return (index) => index >= first && index < after.length - end;
}

// `wrong` is the number of a line, from 1, or 0.
export function showSource(list, source, before, wrong) {
  const lines = source.replace(/\n$/, "").split("\n");
  const isChanged = before === null ? () => false
    : changedLines(before.replace(/\n$/, "").split("\n"), lines);
  list.replaceChildren(...lines.map((line, index) => {
    const item = document.createElement("li");
    paint(item, line || " ");
    if (index + 1 === wrong) item.className = "wrong";
    else if (isChanged(index)) item.className = "changed";
    return item;
  }));
}
