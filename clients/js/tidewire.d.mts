// tidewire.d.mts -- the types of the module: those of tidewire.d.ts, and the class by default.

import { Tidewire } from "./tidewire.js";

export * from "./tidewire.js";
export default Tidewire;
