-- Checks that the functions and fields of scripts are bound, typed and documented, and that all
-- typed and documented names are bound.
--
--   lua5.4 scripts/check_api.lua [TOP]           TOP: the top of the source tree (default: .)
--
-- Compares three sets of names: bound ones (the functions in src/script that C gives to Lua, and
-- the modules of lua/tidewire, which are loaded here with a fake of the C core), those that
-- lua/types declares, and those in docs/scripting.md and docs/configuration.md. Compares no
-- arguments, runs no hook and needs no build.

package.path = arg[0]:match "^.*/" .. "?.lua;" .. package.path
local checking = require "checking"
local read, sorted, top = checking.read, checking.sorted, checking.top

---@alias names table<string, true>

---Every name of `here` must be in `there`.
---@param here names
---@param there names
---@param what string  how a name is shown: "conn:%s"
---@param is string    what it is, with where: "bound in src/script/bind/bind_conn.c"
---@param is_not string
local function compare(here, there, what, is, is_not)
  for _, name in ipairs(sorted(here)) do
    if not there[name] then
      checking.problem(nil, "%s is %s, but not %s", what:format(name), is, is_not)
    end
  end
end

local function compare_both(bound, typed, what, bound_in, typed_in)
  compare(bound, typed, what, "bound in " .. bound_in, "typed in " .. typed_in)
  compare(typed, bound, what, "typed in " .. typed_in, "bound in " .. bound_in)
end

-- ---- what C binds ----

---The Lua module that a file of src/script belongs to: json_c.c and json_c_read.c to "json_c".
local function module_of(file)
  return file:match "json_c" or file:match "jwt_c" or "core"
end

---The names in tables of functions, and those set on the module one by one as it is opened.
local function c_names()
  local found = { core = {}, json_c = {}, jwt_c = {} }
  for _, file in ipairs(checking.list("src/script", "*.c")) do
    local text = read(file):gsub("/%*.-%*/", "")
    local names = found[module_of(file)]
    for list in text:gmatch "luaL_Reg[%w_%s]*%[%]%s*=%s*{(.-)};" do
      for name in list:gmatch '{%s*"([%w_]+)"' do names[name] = true end
    end
    local opener = text:match "\nstatic int open_core%b()%s*(%b{})"
      or text:match "\nint luaopen_[%w_]+%b()%s*(%b{})" or ""
    for name in opener:gmatch 'lua_setfield%(L, %-2, "([%a][%w_]*)"%)' do names[name] = true end
  end
  return found
end

-- ---- what the Lua library binds ----

---Counters, and what the C core adds to them.
local function core_stats()
  local stats = {}
  for name in read("src/core/bus/stats.h"):gmatch "X%(([%l_]+), \"" do stats[name] = 0 end
  local body = read("src/script/bind/bind_server.c"):match "\nstatic int core_stats%b()%s*(%b{})"
  for name in body:gmatch 'lua_setfield%(L, %-2, "([%w_]+)"%)' do stats[name] = 0 end
  return stats
end

---The figures of pools, which tw.stats() adds.
local function pool_figures()
  local figures = {}
  local source = read("src/script/bind/bind_pool.c")
  for name in source:gmatch 'set_%l+%(L, "([%l_]+)"' do figures[name] = 0 end
  return figures
end

---The figures of the link to other machines, which tw.stats() adds.
local function cluster_figures()
  local figures = {}
  local source = read("src/cluster/node/node.h")
  for name in source:gmatch 'X%(([%l_]+), "' do figures[name] = 0 end
  return figures
end

---Stands for whatever C may give: can be called, and has itself under every name.
local blank = setmetatable({}, { __call = function() end })
getmetatable(blank).__index = function() return blank end

---A module of C with some names that matter here.
local function fake(values)
  return setmetatable(values, { __index = function() return blank end })
end

package.path = top .. "/lua/?.lua;" .. top .. "/lua/?/init.lua;" .. package.path
package.preload["tidewire.core"] = function()
  return fake { version = "0", worker = 0, senders = {}, stats = core_stats,
    pool_figures = pool_figures, cluster_figures = cluster_figures }
end
package.preload["tidewire.json_c"] = function() return fake { null = {} } end
package.preload["tidewire.jwt_c"] = function() return fake {} end

local function keys(t)
  local names = {}
  for name in pairs(t) do
    if type(name) == "string" and not name:find "^__" then names[name] = true end
  end
  return names
end

---The upvalue of a function: a module's local table.
local function upvalue(f, wanted)
  for i = 1, math.huge do
    local name, value = debug.getupvalue(f, i)
    if name == wanted then return value end
    assert(name, "no upvalue " .. wanted .. ": follow lua/tidewire here")
  end
end

local function merged(...)
  local all = {}
  for _, names in ipairs { ... } do
    for name in pairs(names) do all[name] = true end
  end
  return all
end

---class or module -> names
local function lua_names()
  local tw = require "tidewire"
  local Conn, Request = require "tidewire.conn", require "tidewire.http.request"
  local errors, async = require "tidewire.errors", require "tidewire.async"
  local lists = require("tidewire.load.options").lists
  local function send() end
  local conn_index = getmetatable(Conn.new(1, { send = send }, {})).__index
  local request = Request.new("GET / HTTP/1.1\r\n\r\n", "", "127.0.0.1", false)
  local timer, room = async.dead_timer(), tw.room("name")
  local found = {
    ["tidewire"] = keys(tw),
    ["tidewire.json"] = keys(tw.json),
    ["tidewire.http"] = keys(tw.http),
    ["tidewire.jwt"] = keys(tw.jwt),
    ["tidewire.log"] = keys(tw.log),
    ["tidewire.Stats"] = keys(tw.stats()),
    ["tidewire.Conn"] = merged(keys(upvalue(conn_index, "methods")),
      keys(upvalue(conn_index, "getters")), { send = true }),
    ["tidewire.Request"] = merged(keys(upvalue(getmetatable(request).__index, "fields")),
      keys(upvalue(getmetatable(request).__index, "kept")), keys(request)),
    ["tidewire.Error"] = keys(errors.new("script", "text", "hook", "")),
    ["tidewire.Timer"] = merged(keys(getmetatable(timer).__index), { skipped = true }),
    ["tidewire.Room"] = merged(keys(getmetatable(room).__index), keys(room)),
    hooks = {},
  }
  local classes = { handler = "tidewire.Handler", app = "tidewire.App", limits = "tidewire.Limits",
    static = "tidewire.StaticFolder" }
  for list_name, class in pairs(classes) do
    found[class] = {}
    for _, spec in ipairs(lists[list_name]) do
      found[class][spec.name] = true
      if spec.type == "hook" then found.hooks[spec.name] = true end
    end
  end
  return found
end

-- ---- what the types declare ----

---class -> names: its @field lines, and the functions of the local that follows it.
local function typed_names(path)
  local found, variables, class = {}, {}, nil
  for line in read(path):gmatch "[^\n]+" do
    local declared = line:match "^%-%-%-@class ([%w_.]+)"
    local field = line:match "^%-%-%-@field ([%w_]+)"
    local variable = line:match "^local ([%w_]+) = {}"
    local owner, name = line:match "^function ([%w_]+)[.:]([%w_]+)"
    if declared then
      class = declared
      found[class] = found[class] or {}
    elseif field then
      found[class][field] = true
    elseif variable then
      variables[variable] = class
    elseif owner then
      assert(variables[owner], path .. ": function of a table that no class belongs to: " .. line)
      found[variables[owner]][name] = true
    end
  end
  return found
end

-- ---- what the docs name ----

---Code of a Markdown text: the spans between backticks and the blocks, which is where names stand.
local function code_of(path)
  local parts, text = {}, read(path)
  text = text:gsub("\n```[^\n]*\n(.-)\n```", function(block)
    parts[#parts + 1] = block
    return "\n"
  end)
  for span in text:gmatch "`([^`\n]+)`" do parts[#parts + 1] = span end
  return table.concat(parts, "\n")
end

---Those of the names that the code has behind a prefix ("conn[.:]"), as whole words.
local function documented(code, names, prefix)
  local found = {}
  for name in pairs(names) do
    if code:find("%f[%w_]" .. prefix .. name .. "%f[^%w_]") then found[name] = true end
  end
  return found
end

---All names that the code has behind a prefix.
local function mentioned(code, prefix)
  local found = {}
  for name in code:gmatch("%f[%w_]" .. prefix .. "([%a_][%w_]*)") do found[name] = true end
  return found
end

-- ---- the comparison ----

local c, bound = c_names(), lua_names()
local core_types, types = typed_names "lua/types/core.lua", typed_names "lua/types/tidewire.lua"
local SCRIPTING, CONFIGURATION = "docs/scripting.md", "docs/configuration.md"
local scripting, configuration = code_of(SCRIPTING), code_of(CONFIGURATION)

for module, names in pairs(c) do
  compare_both(names, core_types["tidewire." .. module] or {}, module .. ".%s", "src/script",
    "lua/types/core.lua")
end

---class -> where it is bound, how it is shown, and how docs/scripting.md names its members
local public = {
  ["tidewire"] = { "lua/tidewire/init.lua", "tw.%s", "tw%." },
  ["tidewire.json"] = { "lua/tidewire/json.lua", "tw.json.%s", "tw%.json%." },
  ["tidewire.http"] = { "lua/tidewire/http/client.lua", "tw.http.%s", "tw%.http%." },
  ["tidewire.jwt"] = { "lua/tidewire/jwt.lua", "tw.jwt.%s", "tw%.jwt%." },
  ["tidewire.log"] = { "lua/tidewire/log.lua", "tw.log.%s", "tw%.log%." },
  ["tidewire.Stats"] = { "src/core/bus/stats.h or tw.stats", "tw.stats().%s", "" },
  ["tidewire.Conn"] = { "lua/tidewire/conn.lua", "conn.%s", "conn[.:]" },
  ["tidewire.Request"] = { "lua/tidewire/http/request.lua", "request.%s", "request%." },
  ["tidewire.Error"] = { "lua/tidewire/errors.lua", "err.%s", "err%." },
  ["tidewire.Timer"] = { "lua/tidewire/async.lua", "timer.%s", "timer[.:]" },
  ["tidewire.Room"] = { "lua/tidewire/room.lua", "room.%s", "room[.:]" },
  ["tidewire.Handler"] = { "lua/tidewire/load/options.lua", "the handler's %s" },
  ["tidewire.App"] = { "lua/tidewire/load/options.lua", "the app's %s" },
  ["tidewire.Limits"] = { "lua/tidewire/load/options.lua", "limits.%s" },
  ["tidewire.StaticFolder"] = { "lua/tidewire/load/options.lua", "a static folder's %s" },
}
for _, class in ipairs(sorted(public)) do
  local place, shown, prefix = table.unpack(public[class])
  compare_both(bound[class], types[class] or {}, shown, place, "lua/types/tidewire.lua")
  if prefix then
    local found = documented(scripting, bound[class], prefix)
    compare(bound[class], found, shown, "bound in " .. place, "documented in " .. SCRIPTING)
  else
    local found = documented(configuration, bound[class], "")
    compare(bound[class], found, shown, "bound in " .. place, "documented in " .. CONFIGURATION)
  end
end
compare(bound.hooks, documented(scripting, bound.hooks, ""), "the hook %s",
  "bound in lua/tidewire/load/options.lua", "documented in " .. SCRIPTING)

---Names that the docs use and the program does not have. Scripts have fields of conn of their own,
---and the README's request.c is a file.
local documents = { [SCRIPTING] = scripting, [CONFIGURATION] = configuration,
  ["README.md"] = code_of "README.md" }
for _, path in ipairs(sorted(documents)) do
  local code = documents[path]
  local function compare_mentioned(prefix, class, what)
    compare(mentioned(code, prefix), bound[class], what, "documented in " .. path, "bound")
  end
  compare_mentioned("tw%.", "tidewire", "tw.%s")
  compare_mentioned("conn:", "tidewire.Conn", "conn:%s")
  if path ~= "README.md" then
    compare_mentioned("request%.", "tidewire.Request", "request.%s")
    compare_mentioned("err%.", "tidewire.Error", "err.%s")
  end
end

checking.finish()
