-- bot_brain.lua -- steers a bot of the server: to the nearest orb, with a shot at a near player now
-- and then.
--
-- A bot sees the whole world and steers as a player does, by heading, thrust and fire. It thinks a
-- few times a second, and aims badly enough to be beaten. Stores only fields of the bot itself.

local bot_brain = {}

local THINKS_EVERY = 5   -- ticks; different bots think in different ticks
local SIGHT = 320        -- units
local MISAIMS = 14       -- degrees to either side
local AGGRESSION = 35    -- per cent of its thoughts in which it aims at a player in range

local found = {}

local function nearest(grid, bot)
  local best, least = nil, SIGHT * SIGHT
  for i = 1, grid:around(bot.x - SIGHT, bot.y - SIGHT, bot.x + SIGHT, bot.y + SIGHT, found) do
    local thing = found[i]
    local dx, dy = thing.x - bot.x, thing.y - bot.y
    local distance = dx * dx + dy * dy
    if thing ~= bot and distance < least then
      best, least = thing, distance
    end
  end
  return best
end

local function heading_to(bot, thing)
  return math.floor(math.deg(math.atan(thing.y - bot.y, thing.x - bot.x)) + 0.5) % 360
end

--- Steers a bot, if it is its turn to think.
---@param world game.World
---@param bot game.Player
function bot_brain.think(world, bot)
  if (world.tick + bot.id) % THINKS_EVERY ~= 0 then
    return
  end
  local random = world.random
  local victim = random(1, 100) <= AGGRESSION and nearest(world.player_grid, bot)
  if victim then
    return bot:steer((heading_to(bot, victim) + random(-MISAIMS, MISAIMS)) % 360, 70, true)
  end
  local orb = nearest(world.orb_grid, bot)
  local heading = orb and heading_to(bot, orb) or (bot.heading + random(-30, 30)) % 360
  bot:steer(heading, 85, false)
end

return bot_brain
