-- client_routes.lua -- the routes of the JavaScript client: /tidewire.js, the classic script, and
-- /tidewire.mjs, the module.
--
-- The app's own route or file of that name goes first. Runs while an app loads; client_file.lua
-- serves the files.

local client_routes = {}

-- Paths, and the files of clients/js.
local FILES <const> = {
  { "/tidewire.js", "tidewire.js" },
  { "/tidewire.mjs", "tidewire.min.mjs" },
}

local function has_own_route(result, path)
  for _, route in ipairs(result.http) do
    if route.path == path and not route.static and (not route.method or route.method == "GET") then
      return true
    end
  end
  return false
end

--- Adds the routes to an app that has all of its own.
---@param result tidewire.App
function client_routes.add(result)
  for _, pair in ipairs(FILES) do
    local path, file = pair[1], pair[2]
    if not has_own_route(result, path) then
      local route = { key = "GET " .. path, method = "GET", path = path, client_file = file }
      local own, _, below = result.router:route("GET", path)
      if own and own.static then
        route.app_folder, route.app_path = own.static, below
      end
      assert(result.router:add_route(route))
      result.http[#result.http + 1] = route
    end
  end
end

return client_routes
