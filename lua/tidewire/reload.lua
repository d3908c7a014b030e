-- reload.lua -- from a script file to the code that runs: an app is loaded, then activated or
-- discarded.
--
-- An endpoint, known by its path, is one table for as long as the program runs: connections keep
-- it, and a reload changes its fields. So the next hook of every connection is new code, and
-- activation costs the same for ten connections and for ten thousand. An endpoint that is not in
-- the new app keeps its old code until its connections have closed. Nothing changes before a whole
-- app is loaded.

local app = require "tidewire.load.app"
local codecs = require "tidewire.codecs"
local core = require "tidewire.core"
local endpoints = require "tidewire.endpoints"
local errors = require "tidewire.errors"
local luv_sockets = require "tidewire.luv.sockets"
local globals = require "tidewire.globals"
local memory = require "tidewire.memory"
local pool = require "tidewire.pool"
local registry = require "tidewire.registry"
local run = require "tidewire.run"
local generation_timers = require "tidewire.reload.generation_timers"
local script_file = require "tidewire.load.script_file"
local tw = require "tidewire"

local reload = {}

---@type table<string, tidewire.PreparedEndpoint>  by their paths; endpoints are never removed
local live = {}

local function warn(warnings)
  if core.worker == 0 then -- the other workers would log the same
    for _, warning in ipairs(warnings or {}) do
      core.log("warn", "configuration", nil, "why", app.format(warning))
    end
  end
end

--- Paths and codecs as text: they must be the same in all workers.
local function shape_of(loaded)
  local lines = {}
  for i, endpoint in ipairs(loaded.endpoints) do
    lines[i] = endpoint.path .. " " .. codecs.name(endpoint.options.codec, endpoint.path)
  end
  return table.concat(lines, "\n")
end

--- Loads the app of a file.
---@param file string
---@param command_line table
---@param generation integer
---@return tidewire.App|nil loaded
---@return string[]|nil problems  as lines
---@return string|nil sources     beside problems: the script files read or looked for, one a line
function reload.load(file, command_line, generation)
  local loaded, problems, warnings, scripts = app.load {
    file = file,
    environ = core.environment(),
    command_line = command_line,
    check_address = core.check_address,
    check_trusted_proxy = core.check_trusted_proxy,
    check_cluster_url = core.check_cluster_url,
    check_tls = core.check_tls,
    generation = generation,
    library = tw,
  }
  warn(loaded and problems or warnings)
  if not loaded then
    local lines = {}
    for i, problem in ipairs(problems) do
      lines[i] = app.format(problem)
    end
    return nil, lines, scripts and scripts:sources()
  end
  loaded.shape = shape_of(loaded)
  return loaded
end

--- Calls an app's on_load, which may wait. Then notes all script files of the app in
--- loaded.sources.
---@param loaded tidewire.App
---@return true|nil ok
---@return string[]|nil problems
function reload.call_on_load(loaded)
  local ok, err = true, nil
  if loaded.on_load then
    ok, err = errors.call("on_load", loaded.on_load)
  end
  loaded.sources = loaded.scripts:sources()
  if not ok then
    return nil, {
      ("%s: on_load: %s\n%s")
        :format(loaded.file, err.message, script_file.own_frames(err.traceback)),
    }
  end
  return true
end

--- Warns of mistakes that `tidewire check` looks for and a start does not.
---@param loaded tidewire.App
function reload.check(loaded)
  warn(globals.find(loaded.scripts.files, { loaded.on_load, loaded.on_reload, loaded.on_stop }))
end

--- Gives up an app that was loaded, or that is being loaded, and ends what its code has started.
---@param generation integer  the app's
function reload.discard(generation)
  luv_sockets.discard()
  pool.discard(generation)
  generation_timers.finish(generation)
end

--- Gives the endpoint that connections use the fields of a loaded endpoint.
local function update(endpoint)
  local known = live[endpoint.path]
  local one = known or {}
  local number, old_send = one.number, one.send
  for key in pairs(one) do
    one[key] = nil
  end
  for key, value in pairs(endpoint) do
    one[key] = value
  end
  endpoint.live, live[endpoint.path] = one, one
  endpoints.prepare(one, number)
  endpoint.number = one.number
  if old_send and old_send ~= one.send then -- conn.send is a field, for speed
    registry.replace_send(one, old_send)
  end
end

--- Removes an endpoint's code. What C and closed connections know of the endpoint stays.
local function strip(endpoint)
  local path, name, number = endpoint.path, endpoint.name, endpoint.number
  core.fast_path(number, nil)
  for key in pairs(endpoint) do
    endpoint[key] = nil
  end
  endpoint.path, endpoint.name, endpoint.number, endpoint.is_stripped = path, name, number, true
end

--- The endpoints that are not in the new app and still have their code. An endpoint loses its code
--- when a later app is activated and no worker has a connection of it: by then all workers refuse
--- new ones.
local function removed(new)
  local there, list = {}, {}
  for _, endpoint in ipairs(new.endpoints) do
    there[endpoint.path] = true
  end
  for path, endpoint in pairs(live) do
    if there[path] or endpoint.is_stripped then
      goto continue
    elseif endpoint.is_removed and core.endpoint_taken(endpoint.number) == 0 then
      strip(endpoint)
    else
      endpoint.is_removed = true
      list[#list + 1] = endpoint
    end
    ::continue::
  end
  table.sort(list, function(one, other) return one.number < other.number end)
  return list
end

--- The codecs of these endpoints, by C's numbers.
local function codecs_of(list)
  local by_number = {}
  for _, endpoint in ipairs(list) do
    by_number[endpoint.codec] = endpoint.options.codec
  end
  return by_number
end

--- Makes the endpoints of a loaded app those that connections use. Where an endpoint has a codec of
--- another kind, C closes its connections.
local function activate_endpoints(loaded)
  core.set_budgets(loaded.handler_timeout, loaded.limits.load_timeout)
  core.limit_memory(memory.limit(loaded))
  run.set_limit(loaded.limits.processes)
  local list = {}
  for i, endpoint in ipairs(loaded.endpoints) do
    update(endpoint)
    list[i] = endpoint.live
  end
  for _, endpoint in ipairs(removed(loaded)) do
    list[#list + 1] = endpoint
    if loaded.removed_endpoints == "close" then
      core.close_endpoint(endpoint.number, core.close_codes.restart, "this endpoint is no more")
    end
  end
  registry.endpoints, registry.codecs = list, codecs_of(list)
  core.set_room_rules(loaded.rooms, loaded.limits.room_memory)
end

--- Makes a loaded app the one that runs. In place of a running app: ends what the loading of that
--- app has started, and calls the new app's on_reload. Cannot wait, and cannot fail.
---@param loaded tidewire.App
---@param old tidewire.App|nil  the app that has run until now; nil at the start
---@return tidewire.App running
function reload.activate(loaded, old)
  activate_endpoints(loaded)
  globals.watch(loaded.scripts.env)
  if not old then
    return loaded
  end
  local generation = loaded.scripts.number
  generation_timers.finish(old.scripts.number)
  luv_sockets.activate(generation)
  pool.activate(generation)
  if loaded.on_reload then
    -- timers and functions that on_reload starts belong to the new code, as those of on_load do
    core.set_scope(generation)
    core.spawn(loaded.on_reload, old.value)
    core.set_scope(nil)
  end
  return loaded
end

return reload
