-- settings.lua -- what the environment says about the game, checked once while the app is loaded.
--
--   GAME_BOTS=6       who is alone plays with so many bots; with each more person there is one less
--   GAME_PLAYERS=256  people in one match, at most
--   GAME_MATCHES=50   matches at once, at most

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
