-- app.lua -- makes an app of a script file: checks everything and fills in every default.
--
-- Runs the file, decides between app and bare handler, checks all tables against options.lua, joins
-- the four sources of settings by their strength (command line, environment, app, defaults), and
-- compiles paths and origins. Collects all problems and reports them together, with file and line
-- where these are known. Runs in a worker's Lua state, in a coroutine (the file may wait at its top
-- level). Opens no socket, and knows nothing of connections.

local app_rooms = require "tidewire.load.app_rooms"
local app_endpoints = require "tidewire.load.app_endpoints"
local app_routes = require "tidewire.load.app_routes"
local app_tls = require "tidewire.load.app_tls"
local AppReport = require "tidewire.load.app_report"
local environment = require "tidewire.load.environment"
local Generation = require "tidewire.load.generation"
local option_types = require "tidewire.load.option_types"
local options = require "tidewire.load.options"
local origins = require "tidewire.load.origins"
local Router = require "tidewire.load.router"
local script_file = require "tidewire.load.script_file"

local app = {}

---@class tidewire.App
---@field file string
---@field dir string
---@field scripts tidewire.Generation
---@field value table                        what the script returned
---@field listen string[]
---@field listen_given boolean  not only the default
---@field workers integer|"auto"
---@field admin string|nil
---@field admin_hosts string[]|nil           beside addresses and localhost
---@field trusted_proxies string[]|nil
---@field forwarded_header "X-Forwarded-For"|"Forwarded"|nil  nil: either
---@field proxy_protocol boolean
---@field state string|nil                   the state file
---@field tls tidewire.AppTls|nil            nil: in plain
---@field removed_endpoints "keep"|"close"
---@field limits table<string, any>
---@field handler_timeout number             of what belongs to no endpoint
---@field endpoints tidewire.Endpoint[]      sorted by path
---@field http tidewire.Route[]              sorted by key; `static` is a path that can be opened
---@field allow_origin tidewire.OriginCheck    of plain requests that may change something
---@field rooms tidewire.RoomRule[]
---@field router tidewire.Router
---@field on_load function|nil
---@field on_reload function|nil
---@field on_stop function|nil

--- A table is an app if it has `endpoints` or `http`, or has keys of an app and none of a handler.
local function is_app(value)
  if value.endpoints ~= nil or value.http ~= nil then
    return true
  end
  local of_app, of_handler = false, false
  for key in pairs(value) do
    local in_handler, in_app = options.spec("handler", key), options.spec("app", key)
    of_handler = of_handler or in_handler and not in_app
    of_app = of_app or in_app and not in_handler
  end
  return of_app and not of_handler
end

local function is_empty(value)
  return not value or type(value) == "table" and next(value) == nil
end

local function read_app(report, result, value, from_environment)
  local checked, findings = options.check("app", value, "", {}, report.facts)
  report:take(findings, report.file)
  local sources = { environment = from_environment.handler, defaults = checked.defaults or {} }
  local is_sound = #findings.problems == 0 -- else `endpionts` would be reported twice
  if is_sound and is_empty(value.endpoints) and is_empty(value.http) then
    report:error(report:place(),
      'an app needs `endpoints` or `http`: add endpoints = { ["/"] = { … } }')
  end
  app_endpoints.read(report, result, checked.endpoints or {}, sources)
  app_routes.read(report, result, checked.http or {})
  result.rooms = app_rooms.read(report, checked.rooms)
  for _, hook in ipairs { "on_load", "on_reload", "on_stop" } do
    result[hook] = checked[hook] or nil
  end
  return checked
end

local function read_bare_handler(report, result, handler, from_environment)
  local sources = { environment = from_environment.handler, defaults = {} }
  local facts = { check_address = report.facts.check_address, is_bare = true }
  local endpoint = app_endpoints.new(report, "/*", handler, report:place(), "", sources, facts)
  result.router:add_endpoint("/*", endpoint)
  result.endpoints[1] = endpoint
  result.rooms = {}
  -- the endpoint has all options of the script
  return { defaults = { handler_timeout = endpoint.options.handler_timeout } }
end

-- The options of the app that the command line has too.
local of_command_line = {
  "listen", "workers", "admin", "admin_hosts", "trusted_proxies", "proxy_protocol", "state",
  "cluster",
}

--- The settings of the command line, checked.
local function read_command_line(report, given)
  local settings = {}
  for _, name in ipairs(of_command_line) do
    local value, spec = given[name], options.spec("app", name) --[[@as tidewire.OptionSpec]]
    local is_set = value ~= nil and not (type(value) == "table" and next(value) == nil)
    if is_set then
      local shown = "--" .. name:gsub("_", "-")
      local check = type(value) == "string" and options.check_text or options.check_value
      local ok, result = check(spec, value, report.facts)
      if ok then
        settings[name] = result
      else
        for _, message in ipairs(result) do
          report:error(nil, ("%s: %s"):format(shown, message))
        end
      end
    end
  end
  return settings
end

--- The PROXY protocol would let any client choose its address, if any peer could speak it.
local function check_proxies(report, settings)
  if settings.proxy_protocol and not next(settings.trusted_proxies or {}) then
    report:error(report:place(), "proxy_protocol needs trusted_proxies, the proxies that speak it: "
      .. 'trusted_proxies = { "127.0.0.1", "10.0.0.0/8" }')
  end
end

--- The state file. Its name in the app is relative to the app's folder.
local function state_file(dir, given, checked)
  return given or checked.state and script_file.below(dir, checked.state) or nil
end

--- The option `cluster`: the URLs of the strongest source that has some, and the app's other
--- fields, in whose table files are named relative to its folder. nil: the machine is alone.
local function cluster_of(report, dir, sources)
  local own = sources[3].cluster or {}
  local result = { prefix = "tw", lease = 10, verify = true }
  for name, value in pairs(own) do
    result[name] = value
  end
  for _, name in ipairs { "ca", "certificate", "key" } do
    result[name] = result[name] and script_file.below(dir, result[name]) or nil
  end
  for _, source in ipairs(sources) do
    if source.cluster and source.cluster.urls then
      result.urls = source.cluster.urls
      return result
    end
  end
  if sources[3].cluster then
    report:error(report:place("cluster"), "cluster: it needs url, the URL of a Redis server, as in "
      .. '{ url = "redis://127.0.0.1:6379" }')
  end
end

local function run(report, dir, request)
  local scripts, message = Generation.new(dir, request.generation or 1, request.library)
  if not scripts then
    return nil, { file = report.file, message = message }
  end
  report.scripts = scripts
  local value, problem = scripts:run(report.file)
  if problem then
    return nil, problem
  elseif type(value) ~= "table" then
    local got = value == nil and "it returns nothing"
      or "it returns " .. option_types.describe(value)
    return nil, {
      file = report.file,
      message = ("the script must return a handler or an app table, and %s; add `return { … }` "
        .. "at its end"):format(got),
    }
  end
  return value
end

--- The budgets for the first run of the script, which has set none yet.
---@param environ table<string, string>
---@return number handler_timeout
---@return number load_timeout
---@return integer|nil memory  limits.memory
function app.first_budgets(environ)
  local settings = environment.read(environ)
  return options.effective(options.spec("handler", "handler_timeout"), { settings.handler }),
    options.effective(options.spec("limits", "load_timeout"), { settings.limits }),
    settings.limits.memory
end

---@class tidewire.CommandLine
---@field listen string[]|nil
---@field workers string|integer|nil
---@field admin string|nil
---@field admin_hosts string|nil
---@field state string|nil
---@field cluster string|nil
---@field trusted_proxies string|nil
---@field proxy_protocol string|nil
---@field tls_certificate string|nil
---@field tls_key string|nil
---@field is_check boolean|nil  the app is only looked at

---@class tidewire.LoadRequest
---@field file string                          the script
---@field environ table<string, string>|nil    the environment; none if nil
---@field command_line tidewire.CommandLine|nil
---@field generation integer|nil                1 by default
---@field library tidewire|nil                  what scripts require as "tidewire"
---@field check_address nil|fun(text: string): any, string|nil  as in tidewire.Facts; nil: no check
---@field check_trusted_proxy nil|fun(text: string): any, string|nil  the same
---@field check_cluster_url nil|fun(text: string): any, string|nil  the same
---@field check_tls nil|fun(options: tidewire.AppTls): any, string|nil, string|nil, integer|nil

--- Loads an app, as a generation of its own. May yield wherever the script's top level does.
---@param request tidewire.LoadRequest
---@return tidewire.App|nil result
---@return tidewire.LoadProblem[] errors_or_warnings  errors if there is no app, else the warnings
---@return tidewire.LoadProblem[]|nil warnings        beside errors
---@return tidewire.Generation|nil scripts            beside errors, if any were read
function app.load(request)
  local facts = {
    check_address = request.check_address, check_tls = request.check_tls,
    check_trusted_proxy = request.check_trusted_proxy,
    check_cluster_url = request.check_cluster_url,
  }
  local report = AppReport.new(request.file, facts)
  local dir = script_file.folder(request.file)
  local from_environment, findings = environment.read(request.environ or {}, report.facts)
  report:take(findings)
  local command_line = request.command_line or {}
  local from_command_line = read_command_line(report, command_line)

  local value, problem = run(report, dir, request)
  if not value then
    table.insert(report.errors, problem)
    return nil, report:in_order(report.errors), report:in_order(report.warnings), report.scripts
  end

  local result = {
    file = request.file, dir = dir, scripts = report.scripts, value = value,
    endpoints = {}, http = {}, router = Router.new(),
  }
  local read = is_app(value) and read_app or read_bare_handler
  local checked = read(report, result, value, from_environment)
  app_tls.read(report, result, {
    command_line = { certificate = command_line.tls_certificate, key = command_line.tls_key },
    environment = from_environment.tls,
    app = checked.tls,
  })
  local settings = options.merge("app", { from_command_line, from_environment.app, checked })
  check_proxies(report, settings)
  if #report.errors > 0 then
    return nil, report:in_order(report.errors), report:in_order(report.warnings), report.scripts
  end

  result.listen, result.admin = settings.listen, settings.admin
  result.trusted_proxies, result.proxy_protocol = settings.trusted_proxies, settings.proxy_protocol
  result.admin_hosts = settings.admin_hosts
  result.forwarded_header = settings.forwarded_header
  result.state =
    state_file(dir, from_command_line.state or from_environment.app.state, checked)
  result.cluster =
    cluster_of(report, dir, { from_command_line, from_environment.app, checked })
  if #report.errors > 0 then
    return nil, report:in_order(report.errors), report:in_order(report.warnings), report.scripts
  end
  result.listen_given =
    (from_command_line.listen or from_environment.app.listen or checked.listen) ~= nil
  result.workers, result.removed_endpoints = settings.workers, settings.removed_endpoints
  local timeouts = { from_environment.handler, checked.defaults or {} }
  result.handler_timeout = options.effective(options.spec("handler", "handler_timeout"), timeouts)
  result.allow_origin = origins.compile(options.effective(options.spec("handler", "origins"),
    { from_environment.handler, checked.defaults or {} }))
  result.limits = options.merge("limits", { from_environment.limits, checked.limits or {} })
  return result, report:in_order(report.warnings)
end

--- One problem as text: `file:line: message`, and the traceback below it if there is one.
---@param problem tidewire.LoadProblem
---@return string
function app.format(problem)
  local where = ""
  if problem.file then
    where = problem.line and ("%s:%d: "):format(problem.file, problem.line) or problem.file .. ": "
  end
  local traceback = problem.traceback and problem.traceback ~= ""
    and "\n" .. problem.traceback or ""
  return where .. problem.message .. traceback
end

return app
