-- app_endpoints.lua -- an app's `endpoints`: finds each handler, checks it, fills in its defaults.
--
-- Runs while an app loads. Knows what a handler is; does not know the app around it.

local option_types = require "tidewire.load.option_types"
local options = require "tidewire.load.options"
local origins = require "tidewire.load.origins"
local script_file = require "tidewire.load.script_file"

local app_endpoints = {}

---@class tidewire.Endpoint
---@field path string                        its pattern; "/*" for a bare handler
---@field name string                        conn.name
---@field handler table                      the script's own table
---@field hooks table<string, function>      those that there are
---@field options table<string, any>         all effective values, by the names of API options
---@field allow_origin tidewire.OriginCheck

--- The handler that `endpoints[path]` names, and the place of its keys; nil if there is none, which
--- is reported.
local function find_handler(report, path, value)
  local here = report:place("endpoints", path)
  local label = ('endpoint "%s": '):format(path)
  if type(value) == "table" then
    local file = report.scripts:file_of(value)
    return value, file and { file = file, path = {} } or here
  elseif type(value) ~= "string" then
    report:error(here, ("%sexpected a handler table or a module's name, got %s")
      :format(label, option_types.describe(value)))
    return nil
  end
  local handler, problem = report.scripts:require(value, report.file)
  local file = report.scripts:module_file(value)
  if problem and problem.message == "not found" then
    local expected = script_file.below(script_file.folder(report.file),
      (value:gsub("%.", "/")) .. ".lua")
    report:error(here, ('%smodule "%s" not found: there is no %s, and it is not on package.path')
      :format(label, value, expected))
  elseif problem then
    problem.message = label .. problem.message
    table.insert(report.errors, problem)
  elseif type(handler) ~= "table" then
    report:error(file and { file = file, path = {} } or here,
      ('%smodule "%s" must return a handler table, and it returns %s; add `return { … }` '
        .. 'at its end')
        :format(label, value, handler == true and "nothing" or option_types.describe(handler)))
  else
    return handler, file and { file = file, path = {} } or here
  end
end

local function hooks_of(checked, defaults)
  local hooks = {}
  for _, spec in ipairs(options.lists.handler) do
    if spec.type == "hook" then
      hooks[spec.name] = options.effective(spec, { checked, defaults })
    end
  end
  return hooks
end

local function warn_of_periods(report, place, before, values)
  local ping, pong = values.ping_period, values.pong_period
  if ping > 0 and pong > 0 and pong <= ping then
    report:warn({ file = place.file, path = {} },
      ("%spong_period (%s) is not longer than ping_period (%s): a quiet client is closed before it "
        .. "can answer a ping"):format(before, pong, ping))
  end
end

--- Messages of a JSON heartbeat count as others do.
local function warn_of_heartbeats(report, place, before, values)
  local rate, ping = values.rate, values.ping_period
  if values.heartbeat == "json" and rate and rate.messages and ping > 0
    and rate.messages / rate.per < 1 / ping then
    report:warn({ file = place.file, path = {} },
      ("%srate allows fewer messages (%d in %s seconds) than a client sends as answers to the "
        .. "pings of ping_period (%s)"):format(before, rate.messages, rate.per, ping))
  end
end

--- A limit of each user's connections, and no users.
local function warn_of_users(report, place, before, values)
  if values.user_connections and values.user == nil then
    report:warn({ file = place.file, path = {} },
      ("%suser_connections limits no connection: the option `user`, which says whose connection it "
        .. "is, is not set"):format(before))
  end
end

--- Checks a handler's table and makes an endpoint of it.
---@param report tidewire.AppReport
---@param path string
---@param handler table
---@param place tidewire.Place  of the handler's table
---@param before string         what goes before an option's name in messages
---@param sources { environment: table, defaults: table }  checked options: those of the environment
---  come before the handler's, the defaults after them
---@param facts tidewire.Facts
---@return tidewire.Endpoint
function app_endpoints.new(report, path, handler, place, before, sources, facts)
  local checked, findings = options.check("handler", handler, before, place.path, facts)
  report:take(findings, place.file)
  local values = options.merge("handler", { sources.environment, checked, sources.defaults })
  values.name = values.name or path
  warn_of_periods(report, place, before, values)
  warn_of_heartbeats(report, place, before, values)
  warn_of_users(report, place, before, values)
  return {
    path = path,
    name = values.name,
    handler = handler,
    hooks = hooks_of(checked, sources.defaults),
    options = values,
    allow_origin = origins.compile(values.origins, values.require_origin),
  }
end

--- Reads an app's `endpoints` into result.endpoints and result.router.
---@param report tidewire.AppReport
---@param result tidewire.App
---@param values table
---@param sources { environment: table, defaults: table }
function app_endpoints.read(report, result, values, sources)
  for _, path in ipairs(report:text_keys("endpoints", values)) do
    local handler, place = find_handler(report, path, values[path])
    local before = ('endpoint "%s": '):format(path)
    local endpoint =
      handler and app_endpoints.new(report, path, handler, place, before, sources, report.facts)
    local ok, message = result.router:add_endpoint(path, endpoint or {})
    if not ok then
      report:error(report:place("endpoints", path), before .. message)
    end
    result.endpoints[#result.endpoints + 1] = endpoint
  end
end

return app_endpoints
