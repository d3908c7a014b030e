-- init.lua -- `require "tidewire"`: the public API of scripts.
--
-- Joins the modules; each function is described where it is defined. Works only within the tidewire
-- program.

local ok, core = pcall(require, "tidewire.core")
if not ok then
  error('require "tidewire" works only in a script that the tidewire program runs: '
    .. 'tidewire FILE', 2)
end

local async = require "tidewire.async"
local files = require "tidewire.files"
local inspect = require "tidewire.base.inspect"
local json = require "tidewire.json"
local missing = require "tidewire.base.missing"
local room = require "tidewire.room"
local users = require "tidewire.users"

---@class tidewire
local tw = {
  version = core.version, ---@type string
  worker = core.worker, ---@type integer      this worker's number, from 0
  generation = 1, ---@type integer            how often the app's code was loaded

  sleep = async.sleep,
  after = async.after,
  every = async.every,
  spawn = async.spawn,
  await = async.await,

  room = room.get,
  broadcast = room.broadcast,
  send = room.send,
  close = room.close,
  user = users.get,
  watch_users = users.watch,
  rpc = require "tidewire.rpc".new,

  shared = require("tidewire.shared").get,
  keep = require("tidewire.reload.keep").get,

  json = json,
  null = json.null,
  array = json.array,
  now = core.monotonic,
  time = core.time,
  inspect = inspect.inspect,

  read_file = files.read,
  write_file = files.write,
  run = require "tidewire.run".run,

  connect = require "tidewire.connect".open,
  pool = require "tidewire.pool".open,
  http = require "tidewire.http.client",
  socket = require "tidewire.socket",
  jwt = require "tidewire.jwt",
  log = require "tidewire.log",
}

--- The server's figures: connections open now (`total_connections`) and at most
--- (`max_connections`), `messages` and `bytes` received, `errors` of hooks and of decoding,
--- `uptime` in seconds, and every counter since the start.
---@return table<string, number>
function tw.stats()
  local stats = core.stats()
  stats.total_connections = stats.connections
  stats.messages = stats.messages_received
  stats.bytes = stats.bytes_received
  stats.errors = stats.script_errors + stats.decode_errors
  for name, value in pairs(core.pool_figures()) do
    stats["pool_" .. name] = value
  end
  for name, value in pairs(core.cluster_figures()) do
    stats["cluster_" .. name] = value
  end
  return stats
end

missing.watch_module("tw", tw)

return tw
