// tidewire.global.d.ts -- the class of the classic script, which is a global name.

import { Tidewire as Client } from "./tidewire";

declare global {
  var Tidewire: typeof Client;
  type Tidewire = Client;
}
