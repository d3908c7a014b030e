-- The busted runner under the interpreter that runs this file (the `busted` command chooses one by
-- itself; the tests must have Lua 5.4), with the library of this tree, the tests' own modules
-- ("support.client") and the C modules of the build in TIDEWIRE_BUILD_DIR. Runs in the top folder of the source tree.
local build = os.getenv "TIDEWIRE_BUILD_DIR" or "build/debug"
package.path = "lua/?.lua;lua/?/init.lua;tests/?.lua;" .. package.path
package.cpath = build .. "/lua/?.so;" .. package.cpath

require "busted.runner" ({ standalone = false })
