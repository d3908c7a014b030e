// controls.js -- turns mouse, keys and touches into a heading, a thrust, and whether to shoot.
//
// The mouse steers by its position relative to the player's glider on the screen. A touch creates a
// stick at its position, and another touch of the button shoots. Pressed keys override the mouse.
// Knows no arena and no connection.

const FULL_AT = 130;   // pixels from the glider to the mouse for full thrust
const REST_AT = 25;    // nearer than that is no thrust
const STICK = 46;      // pixels to the stick's end

const KEYS = {
  ArrowUp: [0, -1], KeyW: [0, -1], ArrowDown: [0, 1], KeyS: [0, 1],
  ArrowLeft: [-1, 0], KeyA: [-1, 0], ArrowRight: [1, 0], KeyD: [1, 0],
};

const within = (number, least, most) => Math.min(most, Math.max(least, number));

export class Controls {
  #canvas;
  #stick;
  #placeOfMe;
  #heading = 0;
  #thrust = 0;
  #held = new Set();     // codes of keys
  #mouseFires = false;
  #buttonFires = false;
  #finger = null;        // { id, x, y } where the stick's finger came down

  // placeOfMe() tells where one's own glider is seen, in pixels from the canvas's corner.
  constructor(canvas, stick, button, placeOfMe) {
    this.#canvas = canvas;
    this.#placeOfMe = placeOfMe;
    this.#stick = stick;
    this.isOn = false;
    canvas.addEventListener("pointerdown", (event) => this.#onDown(event));
    canvas.addEventListener("pointermove", (event) => this.#onMove(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, (event) => this.#onUp(event));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    const fire = (fires) => {
      this.#buttonFires = fires;
      button.classList.toggle("held", fires);
    };
    button.addEventListener("pointerdown", (event) => {
      button.setPointerCapture(event.pointerId);
      fire(true);
    });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) {
      button.addEventListener(kind, () => fire(false));
    }
    addEventListener("keydown", (event) => this.#onKey(event, true));
    addEventListener("keyup", (event) => this.#onKey(event, false));
    addEventListener("blur", () => this.rest());
    addEventListener("visibilitychange", () => document.hidden && this.rest());
  }

  // Nothing is wanted any more.
  rest() {
    this.#thrust = 0;
    this.#held.clear();
    this.#mouseFires = this.#buttonFires = false;
    this.#finger = null;
    this.#showStick();
  }

  // As the server takes it: whole numbers.
  get wanted() {
    return {
      heading: (Math.round(this.#heading * 180 / Math.PI) + 360) % 360,
      thrust: Math.round(this.#thrust * 100),
      fire: this.#mouseFires || this.#buttonFires || this.#held.has("Space"),
    };
  }

  #aim(x, y, thrust) {
    if (x !== 0 || y !== 0) this.#heading = Math.atan2(y, x);
    this.#thrust = thrust;
  }

  #onKey(event, isDown) {
    const isOurs = event.code in KEYS || event.code === "Space";
    if (!this.isOn || !isOurs || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof HTMLButtonElement && event.code === "Space") return;
    event.preventDefault();
    if (isDown) this.#held.add(event.code);
    else this.#held.delete(event.code);
    if (event.code === "Space") return;
    const ways = [...this.#held].map((code) => KEYS[code]).filter(Boolean);
    const x = within(ways.reduce((sum, way) => sum + way[0], 0), -1, 1);
    const y = within(ways.reduce((sum, way) => sum + way[1], 0), -1, 1);
    this.#aim(x, y, x !== 0 || y !== 0 ? 1 : 0);
  }

  #steersByKeys() {
    return [...this.#held].some((code) => code in KEYS);
  }

  #onDown(event) {
    document.activeElement?.blur();
    if (event.pointerType !== "touch") {
      this.#mouseFires = true;
      this.#onMove(event);
    } else if (this.#finger === null) {
      this.#finger = { id: event.pointerId, x: event.clientX, y: event.clientY };
      this.#showStick();
    }
    try {
      this.#canvas.setPointerCapture(event.pointerId);
    } catch { /* the finger is up already */ }
  }

  #onMove(event) {
    if (event.pointerType !== "touch") {
      if (this.#steersByKeys()) return;
      const box = this.#canvas.getBoundingClientRect();
      const me = this.#placeOfMe();
      const x = event.clientX - box.left - me.x;
      const y = event.clientY - box.top - me.y;
      this.#aim(x, y, within((Math.hypot(x, y) - REST_AT) / (FULL_AT - REST_AT), 0, 1));
    } else if (event.pointerId === this.#finger?.id) {
      const x = event.clientX - this.#finger.x;
      const y = event.clientY - this.#finger.y;
      const length = Math.hypot(x, y);
      if (length > 6) this.#aim(x, y, Math.min(1, length / STICK));
      const part = Math.min(1, STICK / (length || 1));
      this.#showStick(x * part, y * part);
    }
  }

  #onUp(event) {
    if (event.pointerType !== "touch") {
      this.#mouseFires = false;
    } else if (event.pointerId === this.#finger?.id) {
      this.#finger = null;
      this.#thrust = 0;
      this.#showStick();
    }
  }

  // Where the finger came down; without one, where a thumb would be.
  #showStick(x = 0, y = 0) {
    this.#stick.classList.toggle("held", this.#finger !== null);
    this.#stick.style.left = this.#finger ? `${this.#finger.x}px` : "4.875rem";
    this.#stick.style.top = this.#finger ? `${this.#finger.y}px` : "calc(100% - 4.5rem)";
    this.#stick.firstElementChild.style.transform = `translate(${x}px, ${y}px)`;
  }
}
