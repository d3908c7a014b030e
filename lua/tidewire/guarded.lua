-- guarded.lua -- the functions that scripts see instead of some of Lua's own.
--
-- They do what Lua's functions do, and a run that is over its budget can still be ended
-- (src/script/vm/budget.c): within functions that catch errors, within coroutines, and in
-- finalizers. Lua runs finalizers with hooks off, so the loop runs them instead. Keeps nothing;
-- `install` is the only function that changes tables of Lua.

local async = require "tidewire.async"
local core = require "tidewire.core"
local guards = require "tidewire.guards"
local luv_sockets = require "tidewire.luv.sockets"
local luv_timers = require "tidewire.luv.timers"

local lua = core.guarded

local function sethook()
  error("debug.sethook: hooks are the server's, which ends with them what takes longer than "
    .. "handler_timeout", 2)
end

local guarded = {}

--- By the names of the global functions and of the tables that they replace functions of.
guarded.functions = {
  collectgarbage = lua.collectgarbage,
  pcall = lua.pcall,
  xpcall = lua.make_xpcall(guards.handler),
  setmetatable = lua.setmetatable,
  coroutine = { resume = async.resume, wrap = async.wrap, close = lua.close },
  io = { popen = lua.popen },
  os = { execute = lua.execute, exit = lua.exit },
  debug = { setmetatable = lua.debug_setmetatable, sethook = sethook, traceback = lua.traceback },
}

--- Modules of scripts that block elsewhere, and the library's own in their place.
guarded.modules = {
  socket = "tidewire.socket.luasocket", ["socket.unix"] = "tidewire.socket.unix",
  ssl = "tidewire.socket.ssl",
}

--- Puts them into a table of globals.
---@param globals table
function guarded.install(globals)
  guards.put(globals, guarded.functions)
  for name, module in pairs(guarded.modules) do
    package.preload[name] = function()
      return require(module)
    end
  end
  local luv = require "luv"
  luv_sockets.install(luv)
  luv_timers.install(luv)
end

return guarded
