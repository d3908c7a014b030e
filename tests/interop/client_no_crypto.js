// client_no_crypto.js -- makes Node look as Node 18 does: without a global `crypto`.
'use strict';
delete globalThis.crypto;
if (globalThis.crypto) throw new Error('crypto is still there');
