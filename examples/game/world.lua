-- world.lua -- the arena by itself: gliders, orbs and bolts, one tick after the other.
--
-- A player only steers (a heading, a thrust, whether it fires); this file decides speeds, walls,
-- hits and points. Lengths are units of the arena, times are ticks, headings whole degrees with 0
-- to the right and 90 downward. The events of a tick are a list of lists, sent as they are:
--
--   {"shot", bolt, player, x, y, heading}   a new bolt flies straight on, at BOLT_SPEED for
--                                           BOLT_TICKS
--   {"hit", bolt, player, by}               the bolt has hit a player and is gone
--   {"out", player, by}                     the player had no shield left; it returns in OUT_TICKS
--   {"back", player}                        the player has returned
--   {"orb", orb, x, y, value}               a new orb
--   {"ate", orb, player}                    a player has collected the orb
--
-- Uses no connections, no clock and nothing of tidewire.

local grid = require "grid"

local world = {
  WIDTH = 2400,
  HEIGHT = 1600,
  BOLT_SPEED = 36,
  BOLT_TICKS = 20,
  OUT_TICKS = 40,
  SHIELDS = 3,       -- hits that a glider takes
  MOST_POINTS = 999,
}

local ORBS = 200            -- at the start of a match
local ORB_REACH = 10        -- a glider collects orbs that are so close to its hull
local RELOAD_TICKS = 8      -- from one shot to the next
local REPAIR_TICKS = 60     -- without a hit, until a shield is back
local SAFE_TICKS = 30       -- after its return a player cannot be hit
local PRIZE = 5             -- points for putting a player out
local MOST_SPILLED = 12     -- orbs that a player leaves when it is put out
local GLIDE = 0.16          -- of the difference to the wanted speed is made up in a tick
local SMALLEST_RADIUS, LARGEST_RADIUS = 15, 45
local FASTEST, SLOWEST = 15, 9 -- units a tick, small and large
local CELL = 100

local sin, cos, sqrt, floor = math.sin, math.cos, math.sqrt, math.floor

local SINE, COSINE = {}, {} -- by degree
for degree = 0, 359 do
  SINE[degree], COSINE[degree] = sin(math.rad(degree)), cos(math.rad(degree))
end

local World = {}
World.__index = World
World.__name = "game.World"

function World:__tostring()
  return ("game.World at tick %d"):format(self.tick)
end

--- The radius of a glider with so many points. The page uses the same formula.
---@param points integer
---@return number radius
function world.radius(points)
  return SMALLEST_RADIUS + (LARGEST_RADIUS - SMALLEST_RADIUS) * sqrt(points / world.MOST_POINTS)
end

--- An arena with orbs and without players.
---@param random (fun(least: integer, most: integer): integer)|nil  math.random by default
---@return game.World
function world.new(random)
  local self = setmetatable({
    tick = 0,
    random = random or math.random,
    players = {},  -- by their ids
    orbs = {},     -- by their ids
    bolts = {},    -- a list, in no order
    last_id = 0,   -- of a player, an orb or a bolt: no two things have the same
    found = {},    -- for Grid:around
    player_grid = grid.new(world.WIDTH, world.HEIGHT, CELL),
    orb_grid = grid.new(world.WIDTH, world.HEIGHT, CELL),
  }, World)
  for _ = 1, ORBS do
    self:add_orb()
  end
  return self
end

local function new_id(self)
  self.last_id = self.last_id + 1
  return self.last_id
end

-- ---- orbs ----

--- Adds an orb at a random position, or near a given one.
---@return table orb
function World:add_orb(x, y, value)
  local margin, spread = 30, 90
  local function coordinate(centre, size)
    local least, most = margin, size - margin
    if centre then
      least, most = math.max(least, floor(centre) - spread), math.min(most, floor(centre) + spread)
    end
    return self.random(least, most)
  end
  local orb = {
    id = new_id(self), x = coordinate(x, world.WIDTH), y = coordinate(y, world.HEIGHT),
    value = value or 1, is_spilled = x ~= nil,
  }
  self.orbs[orb.id] = orb
  self.orb_grid:put(orb)
  return orb
end

local function add_orb_event(orb, events)
  events[#events + 1] = { "orb", orb.id, orb.x, orb.y, orb.value }
end

local function eat(self, player, events)
  local reach = player.radius + ORB_REACH
  local x, y, found = player.x, player.y, self.found
  for i = 1, self.orb_grid:around(x - reach, y - reach, x + reach, y + reach, found) do
    local orb = found[i]
    local dx, dy = orb.x - x, orb.y - y
    if dx * dx + dy * dy <= reach * reach then
      self.orbs[orb.id] = nil
      self.orb_grid:take(orb)
      player:add_points(orb.value)
      events[#events + 1] = { "ate", orb.id, player.id }
      if not orb.is_spilled then
        add_orb_event(self:add_orb(), events)
      end
    end
  end
end

-- ---- players ----

local Player = {}
Player.__index = Player
Player.__name = "game.Player"

function Player:add_points(points)
  self.points = math.max(0, math.min(world.MOST_POINTS, self.points + points))
  self.radius = world.radius(self.points)
end

-- Puts the player at a random position, at rest and with all shields.
local function place(self, player)
  player.x, player.y = self.random(100, world.WIDTH - 100), self.random(100, world.HEIGHT - 100)
  player.vx, player.vy = 0, 0
  player.shields = world.SHIELDS
  player.safe_until = self.tick + SAFE_TICKS
  self.player_grid:put(player)
end

--- A new player.
---@return game.Player
function World:add()
  local player = setmetatable({
    id = new_id(self), heading = self.random(0, 359), thrust = 0, fires = false,
    points = 0, loaded_at = 0, repaired_at = 0, back_at = nil,
  }, Player)
  player:add_points(0)
  place(self, player)
  self.players[player.id] = player
  return player
end

--- Removes a player; its bolts fly on.
---@param player game.Player
function World:remove(player)
  self.players[player.id] = nil
  self.player_grid:take(player)
end

--- Sets the player's heading, thrust and fire. The caller has checked the numbers.
---@param heading integer  0 to 359
---@param thrust integer   0 to 100
---@param fires boolean
function Player:steer(heading, thrust, fires)
  self.heading, self.thrust, self.fires = heading, thrust, fires
end

local function glide(player)
  local size = (player.radius - SMALLEST_RADIUS) / (LARGEST_RADIUS - SMALLEST_RADIUS)
  local speed = (FASTEST - (FASTEST - SLOWEST) * size) * player.thrust / 100
  player.vx = player.vx + (speed * COSINE[player.heading] - player.vx) * GLIDE
  player.vy = player.vy + (speed * SINE[player.heading] - player.vy) * GLIDE
  local x, y, radius = player.x + player.vx, player.y + player.vy, player.radius
  if x < radius or x > world.WIDTH - radius then
    x, player.vx = x < radius and radius or world.WIDTH - radius, 0
  end
  if y < radius or y > world.HEIGHT - radius then
    y, player.vy = y < radius and radius or world.HEIGHT - radius, 0
  end
  player.x, player.y = x, y
end

local function shoot(self, player, events)
  local bolt = {
    id = new_id(self), by = player, heading = player.heading, fired_at = self.tick,
    x = player.x + COSINE[player.heading] * player.radius,
    y = player.y + SINE[player.heading] * player.radius,
  }
  player.loaded_at = self.tick + RELOAD_TICKS
  self.bolts[#self.bolts + 1] = bolt
  events[#events + 1] = {
    "shot", bolt.id, player.id, floor(bolt.x + 0.5), floor(bolt.y + 0.5), bolt.heading,
  }
end

-- ---- bolts ----

-- Half of the player's points become orbs; the player returns later.
local function put_out(self, player, by, events)
  local lost = player.points // 2
  local count = math.min(lost, MOST_SPILLED)
  for number = 1, count do -- so that they are worth `lost` together
    add_orb_event(self:add_orb(player.x, player.y,
      lost * number // count - lost * (number - 1) // count), events)
  end
  player:add_points(-lost)
  player.back_at = self.tick + world.OUT_TICKS
  self.player_grid:take(player)
  by:add_points(PRIZE)
  events[#events + 1] = { "out", player.id, by.id }
end

-- The first player on the bolt's path in this tick, or nil: the one whose centre is nearest to the
-- begin of the path.
local function victim_of(self, bolt, to_x, to_y)
  local x, y, found = bolt.x, bolt.y, self.found
  local dx, dy = to_x - x, to_y - y
  local reach = LARGEST_RADIUS
  local count = self.player_grid:around(math.min(x, to_x) - reach, math.min(y, to_y) - reach,
    math.max(x, to_x) + reach, math.max(y, to_y) + reach, found)
  local victim, least = nil, math.huge
  for i = 1, count do
    local player = found[i]
    local px, py = player.x - x, player.y - y
    -- the nearest point of the path: 0 its begin, 1 its end
    local along = (px * dx + py * dy) / (dx * dx + dy * dy)
    along = along < 0 and 0 or along > 1 and 1 or along
    local ox, oy = px - along * dx, py - along * dy
    if along < least and ox * ox + oy * oy <= player.radius * player.radius and player ~= bolt.by
      and self.tick >= player.safe_until then
      victim, least = player, along
    end
  end
  return victim
end

local function strike(self, bolt, victim, events)
  events[#events + 1] = { "hit", bolt.id, victim.id, bolt.by.id }
  victim.shields = victim.shields - 1
  victim.repaired_at = self.tick + REPAIR_TICKS
  if victim.shields == 0 then
    put_out(self, victim, bolt.by, events)
  end
end

-- One tick of a bolt. Returns false when the bolt ends.
local function fly(self, bolt, events)
  local x = bolt.x + COSINE[bolt.heading] * world.BOLT_SPEED
  local y = bolt.y + SINE[bolt.heading] * world.BOLT_SPEED
  local victim = victim_of(self, bolt, x, y)
  if victim then
    strike(self, bolt, victim, events)
    return false
  end
  bolt.x, bolt.y = x, y
  return self.tick - bolt.fired_at < world.BOLT_TICKS and x > 0 and x < world.WIDTH and y > 0
    and y < world.HEIGHT
end

-- ---- a tick ----

local function live(self, player, events)
  if player.back_at then
    if self.tick < player.back_at then
      return
    end
    player.back_at = nil
    place(self, player)
    events[#events + 1] = { "back", player.id }
  end
  glide(player)
  self.player_grid:put(player)
  eat(self, player, events)
  if player.shields < world.SHIELDS and self.tick >= player.repaired_at then
    player.shields = player.shields + 1
    player.repaired_at = self.tick + REPAIR_TICKS
  end
  if player.fires and self.tick >= player.loaded_at then
    shoot(self, player, events)
  end
end

--- Advances by one tick, and adds its events to the list.
---@param events table
function World:step(events)
  self.tick = self.tick + 1
  local bolts, kept = self.bolts, 0
  for i = 1, #bolts do
    local bolt = bolts[i]
    bolts[i] = nil
    if fly(self, bolt, events) then
      kept = kept + 1
      bolts[kept] = bolt
    end
  end
  for _, player in pairs(self.players) do
    live(self, player, events)
  end
end

-- ---- the state ----

--- Six numbers for each player, one after the other: id, x, y, heading, points, shields. Shields
--- are 0 for a player that is out, and one more than SHIELDS for one that cannot be hit yet.
---@return integer[]
function World:positions()
  local list, n = {}, 0
  for id, player in pairs(self.players) do
    list[n + 1], list[n + 2], list[n + 3] = id, floor(player.x + 0.5), floor(player.y + 0.5)
    list[n + 4], list[n + 5] = player.heading, player.points
    list[n + 6] = player.back_at and 0 or self.tick < player.safe_until and world.SHIELDS + 1
      or player.shields
    n = n + 6
  end
  return list
end

--- Four numbers for each orb: id, x, y, value.
---@return integer[]
function World:orb_list()
  local list = {}
  for id, orb in pairs(self.orbs) do
    table.move({ id, orb.x, orb.y, orb.value }, 1, 4, #list + 1, list)
  end
  return list
end

--- Six numbers for each flying bolt: id, player, x, y, heading, and the tick of this position.
---@return integer[]
function World:bolt_list()
  local list = {}
  for _, bolt in ipairs(self.bolts) do
    local x, y = floor(bolt.x + 0.5), floor(bolt.y + 0.5)
    table.move({ bolt.id, bolt.by.id, x, y, bolt.heading, self.tick }, 1, 6, #list + 1, list)
  end
  return list
end

return world
