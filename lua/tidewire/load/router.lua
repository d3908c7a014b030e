-- router.lua -- finds the endpoint or HTTP route for a path.
--
-- Two trees of patterns (path_tree.lua has their rules): one of WebSocket endpoints, one of plain
-- HTTP routes with their methods. Two patterns that match the same requests are a mistake in the
-- configuration, which is reported when the second is added. Owns both trees; runs in a worker's
-- Lua state, filled once while an app loads and only read after that. Does not open files: for a
-- static route it returns the folder and the rest of the path, and the code that serves the file
-- must refuse "..", NUL and similar paths.

local sorted_keys = require "tidewire.base.sorted_keys"
local PathTree = require "tidewire.load.path_tree"

---@class tidewire.Route
---@field key string               as the app wrote it: "POST /announce"
---@field method string|nil        nil: any method (of a static route: GET and HEAD)
---@field path string              the pattern
---@field handler function|nil     function(request); or
---@field static string|nil        the folder to serve; or
---@field client_file string|nil   the name of a file of the JavaScript client
---@field app_folder string|nil    of the latter: a static folder of the app that goes first, and …
---@field app_path string|nil      … the path of its file
---@field depth integer|nil        of a static route; the router's own

---@class tidewire.Router
local Router = {}
Router.__index = Router
Router.__name = "tidewire.router"

---@return tidewire.Router
function Router.new()
  return setmetatable({ endpoints = PathTree.new(), routes = PathTree.new() }, Router)
end

--- Adds an endpoint.
---@param pattern string  "/chat", "/game/:room", "/files/*"
---@param endpoint any    what `Router:endpoint` will return
---@return true|nil ok
---@return string|nil message  what is wrong with the pattern
function Router:add_endpoint(pattern, endpoint)
  local leaf, names = self.endpoints:leaf(pattern)
  if not leaf then
    return nil, names --[[@as string]]
  elseif leaf[1] then
    return nil, ('matches the same paths as "%s"'):format(leaf[1].pattern)
  end
  leaf[1] = { pattern = pattern, names = names, value = endpoint }
  return true
end

-- A route with a method goes before one for any method, so these two do not conflict.
local function overlaps(one, other)
  if one.static and other.static then
    return true
  elseif one.static or other.static then
    local method = (one.static and other or one).method
    return method == nil or method == "GET"
  end
  return one.method == other.method
end

local function add_entry(tree, pattern, route)
  local leaf, names = tree:leaf(pattern)
  if not leaf then
    return nil, names
  end
  for _, entry in ipairs(leaf) do
    if not entry.folder_itself and overlaps(entry.value, route) then
      return nil, ('answers the same requests as "%s"'):format(entry.value.key)
    end
  end
  leaf[#leaf + 1] = { pattern = pattern, names = names, value = route }
  return true
end

local function add_static(tree, route)
  if route.path:find("[:*]") then
    return nil,
      'a static folder serves everything below its path: write a plain path, as in "/assets"'
  end
  local folder = route.path:gsub("/$", "")
  route.depth = select(2, folder:gsub("/", "")) -- its number of segments
  local ok, message = add_entry(tree, folder .. "/*", route)
  if ok and folder ~= "" then
    -- The folder itself, without a slash. A function of the same path goes first, and is no
    -- conflict.
    local leaf = tree:leaf(folder)
    leaf[#leaf + 1] = { pattern = folder, names = {}, value = route, folder_itself = true }
  end
  return ok, message
end

--- Adds an HTTP route.
---@param route tidewire.Route
---@return true|nil ok
---@return string|nil message  what is wrong with the route
function Router:add_route(route)
  if route.static then
    return add_static(self.routes, route)
  end
  return add_entry(self.routes, route.path, route)
end

local function first_entry(leaf)
  return leaf[1]
end

--- The endpoint for a path.
---@param raw_path string  still percent-encoded, without the query: `Request.raw_path(request)`
---@return any endpoint    nil if there is none
---@return table<string, string>|nil params
function Router:endpoint(raw_path)
  local entry, params = self.endpoints:find(raw_path, first_entry)
  if not entry then
    return nil
  end
  return entry.value, params
end

--- How well an entry fits a method, the best fit lowest; nil: not at all.
local function rank(entry, method)
  local route = entry.value
  if route.static then
    return (method == "GET" or method == "HEAD") and 4 or nil
  elseif route.method == method then
    return 1
  elseif route.method == "GET" and method == "HEAD" then
    return 2
  end
  return route.method == nil and 3 or nil
end

local function best_entry(leaf, method)
  local best, best_rank
  for _, entry in ipairs(leaf) do
    local entry_rank = rank(entry, method)
    if entry_rank and (not best_rank or entry_rank < best_rank) then
      best, best_rank = entry, entry_rank
    end
  end
  return best
end

local function note_methods(leaf, allowed)
  for _, entry in ipairs(leaf) do
    local method = entry.value.static and "GET" or entry.value.method
    allowed[method] = true
    if method == "GET" then
      allowed.HEAD = true
    end
  end
end

--- What is left of a raw path behind its first `depth` segments: "" or "/…".
local function below(raw_path, depth)
  local position = 1
  for _ = 1, depth do
    position = raw_path:find("/", position + 1, true) or #raw_path + 1
  end
  return raw_path:sub(position)
end

--- The HTTP route for a request. HEAD uses GET's route where it has none of its own.
---@param method string
---@param raw_path string      still percent-encoded, without the query: `Request.raw_path(request)`
---@return tidewire.Route|nil route
---@return table<string, string>|"method"|nil params  of a static route, params["*"] is the decoded
---  path below its folder, "" for the folder itself; "method": the path has routes, but none for
---  this method
---@return string[]|string|nil allowed_or_below  with "method": the path's methods, sorted, for the
---  Allow header; of a static route: the still encoded path below its folder, "" or "/…"
function Router:route(method, raw_path)
  local allowed = {}
  local entry, params = self.routes:find(raw_path, function(leaf)
    local best = best_entry(leaf, method)
    if not best then
      note_methods(leaf, allowed)
    end
    return best
  end)
  if entry and entry.value.static then
    params["*"] = params["*"] or ""
    return entry.value, params, below(raw_path, entry.value.depth)
  elseif entry then
    return entry.value, params
  elseif next(allowed) then
    return nil, "method", sorted_keys(allowed)
  end
  return nil
end

return Router
