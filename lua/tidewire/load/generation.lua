-- generation.lua -- one loading of an app's scripts: their globals, and the modules that they have
-- loaded.
--
-- Each reload makes a new generation beside the running one. A generation has its own globals and
-- script modules, so that new code shares nothing with old code. Libraries (Lua's own, tidewire, C
-- modules, modules that LuaRocks has installed) are loaded once and shared by all generations, so
-- later generations see what a script changes in a library's table.
--
-- `require` is a Lua function here, so a module may wait while it is loaded, as the app's own file
-- may. Only precompiled chunks are refused: bad ones can crash the interpreter. Knows nothing of
-- what scripts return.

local script_file = require "tidewire.load.script_file"

local raw_load, raw_loadfile, raw_require = load, loadfile, require

-- The paths of libraries: package.path as it was before the first app.
local SYSTEM_PATH, SYSTEM_CPATH = package.path, package.cpath

-- Modules that no file of an app can replace.
local built_in = {}
for _, known in ipairs { package.loaded, package.preload } do
  for name in pairs(known) do
    built_in[name] = true
  end
end

---@class tidewire.Generation
---@field number integer               counted from 1
---@field folder string                the app's
---@field env table                    the scripts' globals
---@field files table<string, true>    every script file that was asked for, there or not
---@field private loaded table         modules, by name
---@field private loading table<string, true>
---@field private is_listed boolean    sources() has returned the files: the list is final
local Generation = {}
Generation.__index = Generation
Generation.__name = "tidewire.Generation"

-- ---- modules ----

local function join(places, last)
  places[#places + 1] = last
  return table.concat(places, ";")
end

local function paths_of(folder)
  local below = script_file.below
  local libraries = { below(folder, "lua_modules/share/lua/5.4/?.lua"),
    below(folder, "lua_modules/share/lua/5.4/?/init.lua") }
  local library_path = join(libraries, SYSTEM_PATH)
  return join({ below(folder, "?.lua"), below(folder, "?/init.lua") }, library_path), library_path,
    below(folder, "lua_modules/lib/lua/5.4/?.so") .. ";" .. SYSTEM_CPATH
end

--- Loads a file of Lua source into the environment.
local function load_source(self, file)
  self.files[file] = true
  return raw_loadfile(file, "t", self.env)
end

local loading_mark = { __close = function(mark) mark.loading[mark.name] = nil end }

--- Notes the files where a module was looked for before it was found: a file that appears there
--- later goes first. Libraries are loaded once, so their places are not noted.
local function note_places(self, name, found)
  if self.is_listed then
    return
  end
  local path, libraries = self.env.package.path, {}
  for template in package.path:gmatch("[^;]+") do
    libraries[template] = true
  end
  for template in (type(path) == "string" and path or ""):gmatch("[^;]+") do
    local file = template:gsub("%?", (name:gsub("%.", "/"):gsub("%%", "%%%%")))
    if file == found then
      return
    elseif not libraries[template] then
      self.files[file] = true
    end
  end
end

--- Runs a loader. Marks the module as loading until the loader ends, with or without an error.
local function run_loader(self, loader, name, extra)
  self.loading[name] = true
  local _ <close> = setmetatable({ loading = self.loading, name = name }, loading_mark)
  local result = loader(name, extra)
  return result
end

--- The searchers of `require`, as Lua has them: each returns a loader and its argument, or why
--- there is none.
local function searchers_of(self)
  local env = self.env
  local function preloaded(name)
    local loader = env.package.preload[name]
    return loader or ("no field package.preload['%s']"):format(name), loader and ":preload:"
  end
  local function shared(name)
    return raw_require(name)
  end
  local function scripts(name)
    local file, tried = package.searchpath(name, env.package.path)
    note_places(self, name, file)
    if not file then
      return tried
    elseif file == package.searchpath(name, package.path) then
      return shared, file -- a library's
    end
    local chunk, message = load_source(self, file)
    if not chunk then
      error(("error loading module '%s' from file '%s':\n\t%s"):format(name, file, message), 0)
    end
    return chunk, file
  end
  local function libraries(name)
    if package.loaded[name] ~= nil or package.preload[name] then
      return shared, ":shared:"
    end
    local root = name:match("^[^.]*") -- a submodule may be in the library of its root
    local file, tried = package.searchpath(name, package.cpath)
    file = file or package.searchpath(root, package.cpath)
    return file and shared or tried, file
  end
  return { preloaded, scripts, libraries }
end

local function find_loader(self, name)
  local tried = {}
  for _, searcher in ipairs(self.env.package.searchers) do
    local loader, extra = searcher(name)
    if type(loader) == "function" then
      return loader, extra
    elseif type(loader) == "string" then
      tried[#tried + 1] = "\n\t" .. loader:gsub("^\n\t", "")
    end
  end
  -- where `require` was called
  error(("module '%s' not found:%s"):format(name, table.concat(tried)), 3)
end

--- The scripts' `require`.
local function require_of(self)
  return function(name)
    name = type(name) == "number" and tostring(name) or name
    if type(name) ~= "string" then
      local got = name == nil and "no value" or type(name)
      error(("bad argument #1 to 'require' (string expected, got %s)"):format(got), 2)
    end
    local known = rawget(self.loaded, name)
    if known ~= nil then
      return known
    elseif built_in[name] then
      return raw_require(name)
    elseif self.loading[name] then
      error(("module '%s' is being loaded already: it is required in a loop"):format(name), 2)
    end
    local loader, extra = find_loader(self, name)
    local result = run_loader(self, loader, name, extra)
    if result ~= nil then
      self.loaded[name] = result
    elseif rawget(self.loaded, name) == nil then
      self.loaded[name] = true
    end
    return self.loaded[name], extra
  end
end

-- ---- globals ----

--- The functions that load code, for this environment.
local function add_loaders(self)
  local env = self.env
  function env.load(chunk, name, mode, ...)
    if select("#", ...) == 0 then
      return raw_load(chunk, name, mode, env)
    end
    return raw_load(chunk, name, mode, (...))
  end
  local function note(file)
    if type(file) == "string" and not self.is_listed then
      self.files[file] = true
    end
  end
  function env.loadfile(file, mode, ...)
    note(file)
    if select("#", ...) == 0 then
      return raw_loadfile(file, mode, env)
    end
    return raw_loadfile(file, mode, (...))
  end
  function env.dofile(file)
    note(file)
    local chunk, message = raw_loadfile(file, nil, env)
    if not chunk then
      error(message, 0)
    end
    return chunk()
  end
end

local function new_env(self)
  local env = {}
  for name, value in pairs(_G) do
    env[name] = value
  end
  env._G = env
  self.env = env
  local path, library_path, cpath = paths_of(self.folder)
  package.path, package.cpath = library_path, cpath -- what libraries themselves require
  env.package = {
    path = path, cpath = cpath, config = package.config, searchpath = package.searchpath,
    loadlib = package.loadlib, loaded = self.loaded, preload = {},
  }
  env.package.searchers = searchers_of(self)
  env.require = require_of(self)
  add_loaders(self)
end

--- The library as this generation sees it: with its own number, and pools of its own.
local function own_tidewire(library, generation)
  local own = {}
  for name, value in pairs(library) do
    own[name] = value
  end
  own.generation = generation.number
  if library.pool then
    own.pool = function(...) return library.pool(generation, ...) end
  end
  return setmetatable(own, getmetatable(library))
end

--- A generation without code.
---@param folder string   of the app
---@param number integer
---@param library tidewire|nil  `require "tidewire"` returns a copy of it; nil: there is none
---@return tidewire.Generation|nil generation
---@return string|nil message  package.path cannot express the folder's name
function Generation.new(folder, number, library)
  if folder:find("[?;]") then
    return nil, 'the app\'s folder has "?" or ";" in its name, which Lua\'s package.path cannot '
      .. 'hold: rename it'
  end
  local self = setmetatable({
    number = number, folder = folder, files = {}, loading = {}, is_listed = false,
  }, Generation)
  self.loaded = setmetatable({}, { __index = package.loaded })
  self.loaded.tidewire = library and own_tidewire(library, self)
  new_env(self)
  return self
end

-- ---- loading ----

--- Runs a Lua file and returns what it returns. May yield where the file does.
---@param file string
---@return any value
---@return tidewire.LoadProblem|nil problem
function Generation:run(file)
  local problem = script_file.unreadable(file)
  if problem then
    return nil, problem
  end
  local chunk, message = load_source(self, file)
  if not chunk then
    return nil, script_file.read_message(message, file)
  end
  local ok, result = xpcall(chunk, script_file.message_handler)
  if not ok then
    return nil, script_file.problem_of(result, file)
  end
  return result
end

--- Loads a module, as the scripts' `require` does.
---@param name string
---@param file string  the file that asks for it, for messages that name none
---@return any value
---@return tidewire.LoadProblem|nil problem  its message is "not found" if there is no such module
function Generation:require(name, file)
  local ok, result = xpcall(self.env.require, script_file.message_handler, name)
  if ok then
    return result
  end
  local text = type(result) == "table" and result.text or ""
  if text:sub(1, #name + 20) == ("module '%s' not found:"):format(name) then
    return nil, { file = file, message = "not found" }
  end
  return nil, script_file.problem_of(result, self:module_file(name) or file)
end

--- The script files that were read or looked for, one a line.
---@return string
function Generation:sources()
  local list = {}
  self.is_listed = true
  for file in pairs(self.files) do
    if not file:find("\n", 1, true) then
      list[#list + 1] = file
    end
  end
  table.sort(list)
  return table.concat(list, "\n")
end

--- The Lua file of a module, if it is one.
---@param name string
---@return string|nil
function Generation:module_file(name)
  return (package.searchpath(name, self.env.package.path))
end

--- The Lua file of the loaded module that returned this table; nil if none did.
---@param value table
---@return string|nil
function Generation:file_of(value)
  for name, loaded in pairs(self.loaded) do
    if rawequal(loaded, value) then
      return self:module_file(name)
    end
  end
  return nil
end

return Generation
