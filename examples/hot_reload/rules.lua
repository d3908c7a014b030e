-- rules.lua -- the rules for messages in the room. Change them while users talk, and save.

local rules = {}

rules.VERSION = "1"
rules.NEWS = 30 -- seconds from one line of news to the next
local BANNED = { "darn" }

function rules.greeting(who)
  return ("* hello %s, here are rules %s"):format(who, rules.VERSION)
end

function rules.say(who, count, text)
  for _, word in ipairs(BANNED) do text = text:gsub(word, ("*"):rep(#word)) end
  return ("%s (%d): %s"):format(who, count, text)
end

return rules
