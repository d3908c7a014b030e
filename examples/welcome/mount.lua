-- mount.lua -- adds another example to this app: its endpoints and pages below a path of their own.
--
-- Each example has modules of its own, and two of them may have the same name. So each gets a
-- `require` of its own, which looks into the example's folder first.

-- Loads an example's app.lua. `folder` ends without a slash.
local function load_app(folder)
  local loaded = {}
  local environment = setmetatable({}, { __index = _G })

  function environment.require(name)
    local path = package.searchpath(name, folder .. "/?.lua")
    if not path then return require(name) end
    if loaded[name] == nil then
      local chunk = assert(loadfile(path, "t", environment))
      loaded[name] = chunk(name, path) or true
    end
    return loaded[name]
  end

  return environment.require("app"), environment.require
end

local here = assert(package.searchpath("mount", package.path)):match("^(.*)/[^/]*$")

-- Adds the example `name`, which is in the folder beside this one, to `app`: "chat" has its page at
-- "/chat/".
return function(app, name)
  local part, require_part = load_app(here .. "/../" .. name)
  for path, handler in pairs(part.endpoints) do
    app.endpoints["/" .. name .. path] = type(handler) == "string" and require_part(handler)
      or handler
  end
  for route, answer in pairs(part.http) do
    local method, path = route:match("^(%u* ?)(/.*)$")
    if type(answer) == "table" then answer = { static = "../" .. name .. "/" .. answer.static } end
    app.http[method and method .. "/" .. name .. path or route] = answer -- or `client`
  end
end
