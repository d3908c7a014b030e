-- pooled.lua -- an app for the specs of tw.pool: "/run" runs each message as Lua, which may wait,
-- and answers with a line of what it returned.
--
--     local app <close> = server.start(pooled.options(MODULE))
--     local ada = app:connect("/run")
--     pooled.ask(ada, 'pool:call("echo", 1)')   --> "1"

local pooled = {}

local APP = [[
local tw = require "tidewire"
local record, here = require "record", require "here"
local pool = tw.pool("db", %s)

local function line(ok, ...)
  local list = table.pack(...)
  for i = 1, list.n do list[i] = tw.inspect(list[i]) end
  return (ok and "" or "threw ") .. table.concat(list, " | ")
end

return {
  limits = { load_timeout = 60 },
  endpoints = {
    ["/run"] = {
      handler_timeout = 60,
      validate = here.validate,
      handle_message = function(conn, source)
        local env = setmetatable({ tw = tw, pool = pool, conn = conn, record = record },
          { __index = _G })
        if not source:find("return ") then -- a tail call would have no line
          source = "local r = table.pack(" .. source .. ") return table.unpack(r, 1, r.n)"
        end
        local f = assert(load(source, "=run", "t", env))
        conn:send(line(xpcall(f, function(err)
          return type(err) == "table" and err or tostring(err)
        end)))
      end,
    },
  },
}
]]

--- The app's text.
---@param options string?  those of tw.pool, as Lua
---@return string
function pooled.app(options)
  return (APP:gsub("%%s", options and options:gsub("%%", "%%%%") or "{ threads = 2 }", 1))
end

--- The options of a server with the app and its module.
---@param module string    the text of db.lua
---@param options string?  those of tw.pool, as Lua
---@param more table?      of the server
---@return support.server_options
function pooled.options(module, options, more)
  local all = { app = pooled.app(options), files = { ["db.lua"] = module } }
  for name, value in pairs(more or {}) do
    all[name] = value
  end
  return all
end

--- Runs Lua in the app, and returns the line that it answers with.
---@param client support.client
---@param source string  statements with a `return`, or an expression
---@return string
function pooled.ask(client, source)
  return (client:ask(source, 60))
end

return pooled
