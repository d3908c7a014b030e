-- app_routes.lua -- an app's `http`: functions and static folders by method and path, and the
-- JavaScript client.
--
-- Runs while an app loads. Checks that a static folder exists; C serves it.

local client_routes = require "tidewire.load.client_routes"
local option_types = require "tidewire.load.option_types"
local options = require "tidewire.load.options"
local script_file = require "tidewire.load.script_file"
local suggest = require "tidewire.base.suggest"

local app_routes = {}

local CLIENT <const> = "client" -- the one key that is no path

local METHODS = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" }

--- Method and path of a key such as "POST /announce"; or nil and the problem.
local function split_key(key)
  if key:sub(1, 1) == "/" then
    return nil, key
  end
  local method, path = key:match("^(%S+) +(%S+)$")
  if not method then
    return nil, nil, 'expected a path, or a method and a path, as in "POST /announce"'
      .. suggest.hint(key, { CLIENT })
  end
  for _, known in ipairs(METHODS) do
    if method == known then
      return method, path
    end
  end
  return nil, nil, ('there is no method "%s"%s'):format(method, suggest.hint(method, METHODS))
end

local function find_static(report, key, route, values)
  local before = ('http "%s": '):format(key)
  local checked, findings = options.check("static", values, before, { "http", key })
  report:take(findings, report.file)
  if #findings.problems > 0 then
    return nil
  elseif not checked.static then
    return nil, 'expected a function or { static = "folder" }, got a table without `static`'
  elseif route.method and route.method ~= "GET" then
    return nil, ("a static folder answers GET and HEAD, not %s"):format(route.method)
  end
  local folder = script_file.below(script_file.folder(report.file), checked.static)
  if not script_file.is_folder(folder) then
    return nil, ("there is no folder %s"):format(option_types.quote(folder))
  end
  route.method, route.static = nil, folder
  return route
end

local function new_route(report, key, value)
  local method, path, message = split_key(key)
  if not path then
    return nil, message
  end
  local route = { key = key, method = method, path = path }
  if type(value) == "function" then
    route.handler = value
    return route
  elseif type(value) == "table" then
    return find_static(report, key, route, value)
  end
  return nil,
    ('expected a function or { static = "folder" }, got %s'):format(option_types.describe(value))
end

--- Reads an app's `http` into result.http and result.router.
---@param report tidewire.AppReport
---@param result tidewire.App
---@param values table
function app_routes.read(report, result, values)
  for _, key in ipairs(report:text_keys("http", values)) do
    local route, message, ok
    if key ~= CLIENT then
      route, message = new_route(report, key, values[key])
    elseif type(values[key]) ~= "boolean" then
      message = ("expected true or false, got %s"):format(option_types.describe(values[key]))
    end
    if route then
      ok, message = result.router:add_route(route)
      result.http[#result.http + 1] = route
    end
    if not ok and message then
      report:error(report:place("http", key), ('http "%s": %s'):format(key, message))
    end
  end
  if values[CLIENT] == true then
    client_routes.add(result)
  end
end

return app_routes
