-- rules.lua -- the rules for messages in the room. Change them while users talk, and save.

local rules = {}

rules.VERSION = "1"
rules.NEWS = 30 -- seconds from one line of news to the next
local BANNED = { "darn" }

function rules.greeting(name)
  return ("* hello %s, here are rules %s"):format(name, rules.VERSION)
end

function rules.say(name, count, text)
  for _, word in ipairs(BANNED) do text = text:gsub(word, ("*"):rep(#word)) end
  return ("%s (%d): %s"):format(name, count, text)
end

return rules
