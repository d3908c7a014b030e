-- pool_thread.lua -- the Lua state of a pool's thread: its library, the module, its errors.
--
-- C makes such a state for each thread of a pool (src/script/pool/pool_thread.c) and calls the
-- three functions that this module returns. There is no connection, no loop and no waiting here.
-- Only what a call needs is loaded at once: a thread shall cost little.

local core = require "tidewire.core"
local guards = require "tidewire.guards"

local lua = core.guarded

-- The library has a copy of the globals (library.h), which a module cannot change, but not of the
-- tables in it.
local concat, sort, searchpath = table.concat, table.sort, package.searchpath

-- ---- functions of Lua's ----

local function exit()
  error("os.exit: a thread of a pool cannot end the server", 2)
end

local function sethook()
  error("debug.sethook: hooks are the server's, which ends with them what takes longer than the "
    .. "pool's budget", 2)
end

--- By the names of the global functions and of the tables that they replace functions of.
local functions = {
  pcall = lua.pcall,
  xpcall = lua.make_xpcall(guards.handler),
  coroutine = { resume = lua.resume, wrap = guards.make_wrap(lua.resume), close = lua.close },
  io = { popen = lua.popen },
  os = { execute = lua.execute, exit = exit },
  debug = { sethook = sethook, traceback = lua.traceback },
}

guards.put(_G, functions)
guards.put(_ENV, functions)

-- ---- `require "tidewire"` ----

local MODULES <const> = { json = "tidewire.json", log = "tidewire.log" }

--- What `require "tidewire"` returns in a thread: what needs no worker.
local tw = { version = core.version, now = core.monotonic, time = core.time }

function tw.inspect(value)
  return require("tidewire.base.inspect").inspect(value)
end

setmetatable(tw, {
  __index = function(_, name)
    local value
    if MODULES[name] then
      value = require(MODULES[name])
    elseif name == "null" or name == "array" then
      value = require("tidewire.json")[name]
    else
      error(("tw.%s: this is a thread of the pool \"%s\", which has tw.json, tw.log, tw.now, "
        .. "tw.time, tw.inspect and no connections: return values, and let the hook that has "
        .. "called do the rest"):format(tostring(name), core.pool), 2)
    end
    tw[name] = value
    return value
  end,
})

-- ---- the module ----

local module ---@type table

--- The files that `require` has read or looked for in the app's folders.
local files = {}

--- The searcher of Lua files: as Lua's, but precompiled chunks are refused, because bad ones can
--- crash the interpreter, and files of the app are noted for --watch.
local function script_searcher(path, library_path)
  local libraries = {}
  for template in library_path:gmatch("[^;]+") do
    libraries[template] = true
  end
  local function note(name, found)
    for template in path:gmatch("[^;]+") do
      local file = template:gsub("%?", (name:gsub("%.", "/"):gsub("%%", "%%%%")))
      if not libraries[template] then
        files[#files + 1] = file
      end
      if file == found then
        return
      end
    end
  end
  return function(name)
    local file, tried = searchpath(name, package.path)
    note(name, file)
    if not file then
      return tried
    end
    local chunk, message = loadfile(file, "t")
    if not chunk then
      error(("error loading module '%s' from file '%s':\n\t%s"):format(name, file, message), 0)
    end
    return chunk, file
  end
end

--- Loads the module. C's first call.
---@param name string          as for require
---@param path string          the app's package.path,
---@param library_path string  the part of it that is not the app's,
---@param cpath string         and its package.cpath
---@return string files       that were read or looked for, one a line
---@return string|nil problem  why the module cannot be loaded
local function load_module(name, path, library_path, cpath)
  package.path, package.cpath = path, cpath
  package.searchers[2] = script_searcher(path, library_path)
  package.preload.tidewire = function() return tw end
  package.preload.luv = function()
    error("luv has no loop in a thread of a pool: functions block here", 0)
  end
  local ok, result = xpcall(require, function(err)
    return require("tidewire.load.script_file").message_handler(err)
  end, name)
  local list = concat(files, "\n")
  if not ok then
    local file = searchpath(name, path)
    local problem = require("tidewire.load.script_file").problem_of(result, file or name)
    local place = problem.line and ("%s:%d: "):format(problem.file, problem.line)
      or file and problem.file .. ": " or ""
    local traceback = problem.traceback or ""
    return list, place .. problem.message .. (traceback ~= "" and "\n" .. traceback or "")
  elseif type(result) ~= "table" then
    return list, ("%s: the module of a pool must return a table of functions, and it returns %s")
      :format(searchpath(name, path) or name,
        result == true and "nothing" or require("tidewire.load.option_types").describe(result))
  end
  module = result
  return list
end

--- The function of the module with this name; nil and a hint: there is none.
---@param name string
---@return function|nil f
---@return string|nil hint
local function find(name)
  local f = module[name]
  if type(f) == "function" then
    return f
  elseif f ~= nil then
    return nil, ("; it is %s"):format(require("tidewire.load.option_types").describe(f))
  end
  local names = {}
  for key, value in pairs(module) do
    if type(key) == "string" and type(value) == "function" then
      names[#names + 1] = key
    end
  end
  sort(names)
  local hint = require("tidewire.base.suggest").hint(name, names)
  if hint == "" then
    hint = #names == 0 and "; it has none"
      or "; it has " .. concat(names, ", ", 1, #names < 12 and #names or 12)
  end
  return nil, hint
end

--- The message handler of calls.
---@param value any
---@return { message: string, traceback: string, kind: string, value: any }
local function handler(value)
  local errors = require "tidewire.errors"
  local err = errors.new("script", value, "pool", lua.traceback(nil, 2))
  return { message = err.message, traceback = err.traceback, kind = err.kind, value = err.value }
end

return { load = load_module, find = find, handler = handler }
