-- suggest.lua -- finds the right name for a misspelt one.
--
-- Pure functions on strings; used only where a start or a reload fails, so clearness goes before
-- speed. Knows nothing of what the names mean.

local suggest = {}

local LONGEST = 64 -- longer "names" are not compared

--- "pingPeriod", "ping-period" and "PING_PERIOD" are the same name to a person.
local function plain(name)
  return (name:lower():gsub("[_%-. ]", ""))
end

--- The distance by optimal string alignment: how many insertions, deletions, replacements and
--- transpositions turn one text into the other.
---@param a string
---@param b string
---@return integer
function suggest.distance(a, b)
  local before, last = {}, {}
  for j = 0, #b do
    last[j] = j
  end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      row[j] = best
    end
    before, last = last, row
  end
  return last[#b]
end

--- The candidate nearest to a name, if one is near enough to be meant: at most one change in three
--- letters. Of two as near, the first in the alphabet.
---@param name any               what was written; nothing is near to what is no string
---@param candidates string[]
---@return string|nil
function suggest.nearest(name, candidates)
  if type(name) ~= "string" or #name > LONGEST then
    return nil
  end
  local best, best_distance
  local wanted = plain(name)
  for _, candidate in ipairs(candidates) do
    local distance = suggest.distance(wanted, plain(candidate))
    local near_enough = distance <= math.max(1, math.max(#wanted, #candidate) // 3)
    if near_enough and #wanted > 1
      and (not best or distance < best_distance
        or distance == best_distance and candidate < best) then
      best, best_distance = candidate, distance
    end
  end
  return best
end

--- What to append to a message: `; did you mean "ping_period"?`, or nothing.
---@param name any
---@param candidates string[]
---@return string
function suggest.hint(name, candidates)
  local nearest = suggest.nearest(name, candidates)
  return nearest and ('; did you mean "%s"?'):format(nearest) or ""
end

return suggest
