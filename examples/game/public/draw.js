// draw.js -- draws the arena on a canvas, around the player, and a map in a corner.
//
// Takes its colours from the style sheet, so that it is light and dark with the page. Owns effects
// that last longer than their event: sparks and rings. Changes nothing in the arena.

const MESH = 100;          // units between two lines of the floor
const VIEW = 1050;         // units across the longer side of the window
const NARROW_VIEW = 800;   // where fingers play, on a small window
const BEYOND = 90;         // units that are seen behind a wall, at most
const SPARK = 350;         // milliseconds
const RING = 700;

const radians = (degrees) => degrees * Math.PI / 180;

export class Painter {
  #canvas;
  #context;
  x = 0;                   // of the arena, in the middle of the canvas
  y = 0;
  #colours = {};
  #effects = [];           // { kind, x, y, hue, since }
  #calm = matchMedia("(prefers-reduced-motion: reduce)");
  #narrow = matchMedia("(pointer: coarse), (max-width: 45rem)"); // as in style.css

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    new ResizeObserver(() => this.#fit()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)")
      .addEventListener("change", () => this.#readColours());
    this.#fit();
    this.#readColours();
  }

  #fit() {
    const ratio = Math.min(devicePixelRatio, 2);
    this.ratio = ratio;
    this.width = this.#canvas.clientWidth;
    this.height = this.#canvas.clientHeight;
    this.#canvas.width = Math.round(this.width * ratio);
    this.#canvas.height = Math.round(this.height * ratio);
    this.scale = Math.max(this.width, this.height) / (this.#narrow.matches ? NARROW_VIEW : VIEW);
  }

  #readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of [
      "ground", "floor", "mesh", "edge", "panel", "line", "text", "quiet", "bolt", "good",
    ]) {
      this.#colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
    this.#colours.orbLight = style.getPropertyValue("--orb-light").trim();
    this.#colours.gliderLight = style.getPropertyValue("--glider-light").trim();
  }

  // Something that is seen for a moment: "spark" or "ring".
  show(kind, { x, y, hue }, now) {
    if (x !== undefined && !this.#calm.matches) this.#effects.push({ kind, x, y, hue, since: now });
  }

  // Where something of the arena is seen, in pixels from the canvas's corner.
  placeOf({ x, y }) {
    return {
      x: this.width / 2 + (x - this.x) * this.scale,
      y: this.height / 2 + (y - this.y) * this.scale,
    };
  }

  // The own player is in the middle, but near a wall, so that not half of what is seen lies
  // behind it.
  #look(arena) {
    const within = (middle, half, size) => {
      if (size + 2 * BEYOND < 2 * half) return size / 2;
      return Math.min(Math.max(middle, half - BEYOND), size - half + BEYOND);
    };
    this.x = within(arena.me.x, this.width / 2 / this.scale, arena.width);
    this.y = within(arena.me.y, this.height / 2 / this.scale, arena.height);
  }

  draw(arena, shown, now) {
    const context = this.#context;
    const me = arena.me;
    if (!me || me.x === undefined) return;
    this.#look(arena);
    const { scale, ratio } = this;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = this.#colours.ground;
    context.fillRect(0, 0, this.width, this.height);
    context.setTransform(ratio * scale, 0, 0, ratio * scale,
      ratio * (this.width / 2 - this.x * scale), ratio * (this.height / 2 - this.y * scale));
    const reach = { x: this.width / 2 / scale + 60, y: this.height / 2 / scale + 60 };
    const isSeen = ({ x, y }) => Math.abs(x - this.x) < reach.x && Math.abs(y - this.y) < reach.y;

    this.#drawFloor(arena);
    for (const orb of arena.orbs.values()) if (isSeen(orb)) this.#drawOrb(orb);
    for (const bolt of arena.bolts.values()) this.#drawBolt(bolt, arena.boltAt(bolt, shown));
    for (const player of arena.players.values()) {
      if (player.x !== undefined && player.shields > 0 && isSeen(player)) {
        this.#drawGlider(player, arena, now);
      }
    }
    this.#drawEffects(now);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#drawMap(arena, me);
  }

  #drawFloor({ width, height }) {
    const context = this.#context;
    context.fillStyle = this.#colours.floor;
    context.fillRect(0, 0, width, height);
    context.strokeStyle = this.#colours.mesh;
    context.lineWidth = 2;
    context.beginPath();
    for (let x = MESH; x < width; x += MESH) { context.moveTo(x, 0); context.lineTo(x, height); }
    for (let y = MESH; y < height; y += MESH) { context.moveTo(0, y); context.lineTo(width, y); }
    context.stroke();
    context.strokeStyle = this.#colours.edge;
    context.lineWidth = 6;
    context.strokeRect(-3, -3, width + 6, height + 6);
  }

  #drawOrb({ x, y, value, hue }) {
    const context = this.#context;
    const radius = 5 + Math.min(6, Math.sqrt(value));
    context.fillStyle = `hsl(${hue} 80% ${this.#colours.orbLight} / .18)`;
    context.beginPath();
    context.arc(x, y, radius * 2, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = `hsl(${hue} 80% ${this.#colours.orbLight})`;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = "rgb(255 255 255 / .45)";
    context.beginPath();
    context.arc(x - radius * .3, y - radius * .3, radius * .35, 0, 2 * Math.PI);
    context.fill();
  }

  #drawBolt({ heading }, { x, y }) {
    const context = this.#context;
    const [dx, dy] = [Math.cos(radians(heading)), Math.sin(radians(heading))];
    context.strokeStyle = this.#colours.bolt;
    context.lineCap = "round";
    context.lineWidth = 5;
    context.beginPath();
    context.moveTo(x - dx * 20, y - dy * 20);
    context.lineTo(x, y);
    context.stroke();
  }

  #drawGlider(player, arena, now) {
    const context = this.#context;
    const { x, y, radius, hue, heading, shields } = player;
    const isMe = player.id === arena.you;
    const isSafe = shields > arena.shields;
    context.save();
    context.translate(x, y);

    // The shields: parts of a ring. Nothing hits a safe player, which a whole ring shows.
    context.lineWidth = 4;
    context.lineCap = "butt";
    context.strokeStyle = isSafe ? this.#colours.good
      : `hsl(${hue} 60% ${this.#colours.gliderLight} / .75)`;
    for (let part = 0; part < arena.shields; part++) {
      if (part >= shields) break;
      const step = 2 * Math.PI / arena.shields;
      const gap = isSafe ? 0 : 0.22;
      context.beginPath();
      context.arc(0, 0, radius + 6,
        part * step + gap / 2 - Math.PI / 2, (part + 1) * step - gap / 2 - Math.PI / 2);
      context.stroke();
    }

    context.rotate(radians(heading));
    if (isSafe) context.globalAlpha = this.#calm.matches ? .7 : .6 + .3 * Math.sin(now / 90);
    context.fillStyle = `hsl(${hue} 70% ${this.#colours.gliderLight})`;
    context.strokeStyle = isMe ? this.#colours.text : "rgb(0 0 0 / .25)";
    context.lineWidth = isMe ? 3 : 2;
    context.lineJoin = "round";
    context.beginPath();
    context.moveTo(radius, 0);
    context.lineTo(-radius * .75, radius * .78);
    context.quadraticCurveTo(-radius * .3, 0, -radius * .75, -radius * .78);
    context.closePath();
    context.fill();
    context.stroke();
    context.fillStyle = "rgb(255 255 255 / .55)";
    context.beginPath();
    context.arc(radius * .1, 0, radius * .2, 0, 2 * Math.PI);
    context.fill();
    context.restore();

    context.font = `600 ${Math.round(13 / this.scale)}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "top";
    context.lineWidth = 4 / this.scale;
    context.lineJoin = "round";
    context.strokeStyle = this.#colours.floor;
    context.fillStyle = player.isBot ? this.#colours.quiet : this.#colours.text;
    context.strokeText(player.name, x, y + radius + 12);
    context.fillText(player.name, x, y + radius + 12);
  }

  #drawEffects(now) {
    const context = this.#context;
    this.#effects = this.#effects
      .filter(({ kind, since }) => now - since < (kind === "ring" ? RING : SPARK));
    for (const { kind, x, y, hue, since } of this.#effects) {
      const part = (now - since) / (kind === "ring" ? RING : SPARK);
      context.strokeStyle = `hsl(${hue} 85% 60% / ${1 - part})`;
      context.lineWidth = kind === "ring" ? 10 * (1 - part) : 4;
      context.beginPath();
      if (kind === "ring") {
        context.arc(x, y, 20 + 110 * part, 0, 2 * Math.PI);
      } else {
        for (let ray = 0; ray < 7; ray++) {
          const [dx, dy] = [Math.cos(ray * .9), Math.sin(ray * .9)];
          context.moveTo(x + dx * (8 + 22 * part), y + dy * (8 + 22 * part));
          context.lineTo(x + dx * (14 + 34 * part), y + dy * (14 + 34 * part));
        }
      }
      context.stroke();
    }
  }

  // At the bottom on the right; on a narrow window, where the thumbs are, below what is at the top.
  #drawMap(arena, me) {
    const context = this.#context;
    const isNarrow = this.#narrow.matches;
    const width = isNarrow ? 110 : 190;
    const scale = width / arena.width;
    const height = arena.height * scale;
    const [left, top] = isNarrow ? [18, 82] : [this.width - width - 18, this.height - height - 18];
    context.globalAlpha = .88;
    context.fillStyle = this.#colours.panel;
    context.strokeStyle = this.#colours.line;
    context.lineWidth = 1;
    context.beginPath();
    context.roundRect(left - 6, top - 6, width + 12, height + 12, 10);
    context.fill();
    context.stroke();
    context.globalAlpha = 1;
    for (const player of arena.players.values()) {
      if (player.x === undefined || player.shields === 0 || player === me) continue;
      context.fillStyle = `hsl(${player.hue} 70% ${this.#colours.gliderLight})`;
      context.beginPath();
      context.arc(left + player.x * scale, top + player.y * scale, isNarrow ? 2 : 2.5,
        0, 2 * Math.PI);
      context.fill();
    }
    context.fillStyle = this.#colours.text;
    context.beginPath();
    context.arc(left + me.x * scale, top + me.y * scale, isNarrow ? 3.5 : 4.5, 0, 2 * Math.PI);
    context.fill();
  }
}
