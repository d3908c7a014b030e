-- settings.lua -- the game's settings from the environment, checked once while the app is loaded.
--
--   GAME_BOTS=6       the number of bots for a single player; each further player replaces one
--   GAME_PLAYERS=256  the limit on players in one match
--   GAME_MATCHES=50   the limit on matches

local function whole_number(name, default, least, most)
  local text = os.getenv(name)
  local number = text == nil and default or text ~= nil and math.tointeger(tonumber(text))
  if not number or number < least or number > most then
    error(("%s must be a whole number from %d to %d, not %s"):format(name, least, most, text), 0)
  end
  return number
end

return {
  bots = whole_number("GAME_BOTS", 6, 0, 500),
  players = whole_number("GAME_PLAYERS", 256, 1, 1000),
  matches = whole_number("GAME_MATCHES", 50, 1, 1000),
}
