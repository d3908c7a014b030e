-- sorted_keys.lua -- the keys of a table in a fixed order, for messages and headers.

--- The keys, all of which are strings, in the order of their bytes.
---@param set table<string, any>
---@return string[] keys
return function(set)
  local keys = {}
  for key in pairs(set) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end
