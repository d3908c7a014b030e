-- types_parameters_spec.lua -- lua/types/tidewire.lua gives functions the parameters that they have
-- in lua/tidewire.
--
-- scripts/check_api.lua compares names; this spec compares parameters, as text and without types.

local uv = require "luv"

-- A class of the types, and the tables in which the library defines its functions.
local DEFINED_IN = {
  Conn = { "methods" }, Room = { "Room" }, Store = { "Store" }, Timer = { "Timer" },
  Watch = { "Watch" }, tw = { "async", "room", "keep" }, http = { "http_client" }, jwt = { "jwt" },
}

local function read(path)
  local file <close> = assert(io.open(path, "r"))
  return file:read("a")
end

-- "TABLE.NAME" -> its parameters, "self" left out, for each function that a file defines in a
-- table.
local function functions_of(text, into)
  for owner, name, list in text:gmatch("\n%s*function ([%a_]+)[.:]([%a_]+)(%b())") do
    into[owner .. "." .. name] = list:sub(2, -2):gsub("^self,? ?", "")
  end
  return into
end

local function folder_functions(folder)
  local found, scan = {}, assert(uv.fs_scandir(folder))
  for name in function() return uv.fs_scandir_next(scan) end do
    if name:find("%.lua$") then functions_of("\n" .. read(folder .. "/" .. name), found) end
  end
  return found
end

describe("lua/types/tidewire.lua", function()
  it("gives functions the parameters that they have", function()
    local typed, bound, compared = functions_of(read("lua/types/tidewire.lua"), {}),
      folder_functions("lua/tidewire"), 0
    for full_name, parameters in pairs(typed) do
      local owner, name = full_name:match("^(.-)%.(.+)$")
      for _, place in ipairs(DEFINED_IN[owner] or {}) do
        local there = bound[place .. "." .. name]
        if there then
          compared = compared + 1
          assert.equal(there, parameters, full_name)
        end
      end
    end
    assert.is_true(compared > 25, "hardly anything was compared: " .. compared)
  end)
end)
