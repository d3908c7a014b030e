-- cluster.lua -- other machines: requests to the link, which wait, and ids of their connections.
--
-- The link answers a request in a later turn (core/hub/hub_cluster.c); the hook waits as in
-- tw.sleep. Without a cluster nothing here waits. Keeps nothing.

local async = require "tidewire.async"
local core = require "tidewire.core"

local cluster = {}

local WAIT = core.wait_marker
local raw_yield = coroutine.yield

--- A request whose answer may not have come.
---@class tidewire.ClusterRequest
---@field task integer
---@field number integer|false
---@field has_ended boolean
local Request = {
  __close = function(request)
    if request.number then
      core.cluster_forget(request.number)
    end
    async.end_wait(request.task, request.has_ended)
  end,
}

--- Asks the link for something, and waits for its answer.
---@param kind "room_sync"|"shared"|"session"
---@param body string
---@return "ok"|"unreachable"|"timeout"|"refused"|nil status  nil: nothing can wait here
---@return string|nil answer  the link's, often empty; why nothing can wait
function cluster.request(kind, body)
  local task, why = core.task()
  if not task or not coroutine.isyieldable() then
    return nil, why or "nothing can wait here"
  end
  local request <close> =
    setmetatable({ task = task, number = false, has_ended = true }, Request)
  request.number = core.cluster_request(kind, body, task) or false
  if not request.number then
    return "unreachable", ""
  end
  request.has_ended = false
  while true do
    local status, answer = core.cluster_answer(request.number)
    if status then
      request.has_ended = true
      return status, answer
    end
    raw_yield(WAIT)
  end
end

--- Waits until this machine gets what others send to a room, and knows their members of it; some
--- seconds at most. Returns at once where it does already, while the room's server is away, and
--- where nothing can wait.
---@param room string
function cluster.sync(room)
  if core.room_must_sync(room) then
    cluster.request("room_sync", room)
  end
end

--- May this be the id of a connection of another machine?
---@param id string
---@return boolean
function cluster.is_away(id)
  return core.has_cluster() and #id == 24 and not id:find("[^0-9a-v]")
end

return cluster
