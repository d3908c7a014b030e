-- cluster.lua -- several servers with one app that a Redis joins to a cluster.
--
--     local group <close> = cluster.start({ app = [[ … ]] })
--     local ada, bob = group[1]:connect("/"), group[2]:connect("/")
--     group.redis:kill()
--
-- Each server has the URL of the Redis in its environment, or another one that the test gives.
-- Every start has a prefix of its own only by its Redis. Owns the servers and the Redis.

local loop = require "support.loop"
local redis = require "support.redis"
local server = require "support.server"

---@class support.cluster
---@field redis support.service
---@field [integer] support.server
local Cluster = {}
Cluster.__index = Cluster
Cluster.__name = "support.cluster"

local cluster = {}

---@class support.cluster_options: support.server_options
---@field count integer? of servers, 2
---@field redis support.redis_options?
---@field redis_started support.service? one that runs already, which the cluster owns from now on

--- Why there can be none, or nil.
---@return string?
function cluster.missing()
  return redis.missing()
end

-- The options of one more server.
local function options_of(self, more)
  local options = setmetatable(more or {}, { __index = self.options })
  local environment = { TIDEWIRE_CLUSTER = self.redis.url }
  for name, value in pairs(options.environment or {}) do environment[name] = value end
  return setmetatable({ environment = environment }, { __index = options })
end

--- Starts a Redis and servers, and waits until all are ready.
---@param options support.cluster_options
---@return support.cluster
function cluster.start(options)
  local self = setmetatable({ options = options }, Cluster)
  self.redis = options.redis_started or redis.start(options.redis)
  for _ = 1, options.count or 2 do self:add() end
  return self
end

--- Starts one more server, and waits until it is ready.
---@param options support.server_options? instead of those of the start
---@return support.server
function Cluster:add(options)
  local ok, one = pcall(server.start, options_of(self, options))
  if not ok then
    self:stop()
    error(one, 2)
  end
  self[#self + 1] = one
  return one
end

--- Waits until a server's log has so many lines that match.
---@param one support.server
---@param pattern string
---@param count integer?
function cluster.wait_for_log(one, pattern, count)
  return loop.wait_until(function() return #one:log_lines(pattern) >= (count or 1) end)
end

--- Ends the servers, each in good order, and the Redis.
function Cluster:stop()
  local problem
  for i = 1, #self do
    local ok, message = pcall(self[i].stop, self[i])
    problem = problem or (not ok and message or nil)
    self[i] = nil
  end
  self.redis:stop()
  if problem then error(problem, 2) end
end

Cluster.__close = Cluster.stop

return cluster
