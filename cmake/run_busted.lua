-- The busted runner under the interpreter that runs this file (the `busted` command chooses one by
-- itself; the tests must have Lua 5.4), with the library of this tree, the tests' own modules
-- ("support.client") and the C modules of the build in TIDEWIRE_BUILD_DIR. Runs in the top folder
-- of the source tree.
local build = os.getenv "TIDEWIRE_BUILD_DIR" or "build/debug"
package.path = "lua/?.lua;lua/?/init.lua;tests/?.lua;" .. package.path
package.cpath = build .. "/lua/?.so;" .. package.cpath

-- busted's own message handler returns nothing, so that a variable that is closed by an error would
-- see nil, as at a normal end: `local app <close>` must tell a test that failed from one that is
-- over. So busted's core, and no other code, has an xpcall whose handler returns the message.
local function with_message(run, handler, ...)
  return xpcall(run, function(message)
    local result = handler(message)
    return result == nil and message or result
  end, ...)
end

package.preload["busted.core"] = function(name)
  local path = assert(package.searchpath(name, package.path))
  local environment = setmetatable({ xpcall = with_message }, { __index = _G, __newindex = _G })
  return assert(loadfile(path, "t", environment))(name)
end

require "busted.runner" ({ standalone = false })
