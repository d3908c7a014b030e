-- client_file.lua -- serves the JavaScript client, whose files are part of the binary.
--
-- Browsers keep them, and ask each time whether they have changed, as with the files of static
-- folders. Runs in a worker's Lua state, and keeps what it sends.

local core = require "tidewire.core"
local replies = require "tidewire.http.replies"
local script_file = require "tidewire.load.script_file"

local client_file = {}

local made = {} ---@type table<string, tidewire.Reply>

-- The 64-bit hash FNV-1a of a text, as an ETag.
local function etag_of(text)
  local hash = 0xcbf29ce484222325
  for i = 1, #text do
    hash = (hash ~ text:byte(i)) * 0x100000001b3
  end
  return ('"%016x"'):format(hash)
end

local function new_reply(name)
  local bytes = assert(core.client_file(name))
  return replies.new(200, {
    ["Content-Type"] = "text/javascript; charset=utf-8",
    ["X-Content-Type-Options"] = "nosniff",
    ["Access-Control-Allow-Origin"] = "*", -- pages of other hosts may load it as a module
    ["Cache-Control"] = "no-cache",
    ["ETag"] = etag_of(bytes),
  }, bytes)
end

--- Responds with the file of a route; with the app's own, if its folder has one of this name.
---@param number integer  C's number of the request
---@param route tidewire.Route
function client_file.answer(number, route)
  if route.app_folder and script_file.exists(route.app_folder .. route.app_path) then
    return core.respond_file(number, route.app_folder, route.app_path)
  end
  local name = route.client_file
  made[name] = made[name] or new_reply(name)
  replies.send(number, made[name])
end

return client_file
