-- grid.lua -- finds the things near a position without reading all of them.
--
-- The plane consists of square cells, and each thing (a table with x and y) is in the list of its
-- cell. To find the things that a bolt may hit, the game reads only the few cells around it: with
-- 200 players and 500 bolts some thousand comparisons a tick in place of 100,000. Writes `cell` and
-- `slot` into the things. Has no rules of the game.

local Grid = {}
Grid.__index = Grid
Grid.__name = "game.Grid"

function Grid:__tostring()
  return ("game.Grid %d x %d"):format(self.columns, self.rows)
end

local grid = {}

--- An empty grid for things from (0, 0) to (width, height).
---@param width number
---@param height number
---@param side number  of a cell
---@return game.Grid
function grid.new(width, height, side)
  local self = setmetatable({
    side = side, columns = math.ceil(width / side), rows = math.ceil(height / side),
  }, Grid)
  for number = 1, self.columns * self.rows do
    self[number] = {}
  end
  return self
end

-- The column or row of a coordinate; coordinates outside count as the edge.
local function line_of(coordinate, side, count)
  local line = coordinate // side | 0
  return line < 0 and 0 or line >= count and count - 1 or line
end

--- Adds a thing, or updates the cell of one that has moved.
---@param thing { x: number, y: number }
function Grid:put(thing)
  local column = line_of(thing.x, self.side, self.columns)
  local cell = self[line_of(thing.y, self.side, self.rows) * self.columns + column + 1]
  if thing.cell == cell then
    return
  end
  self:take(thing)
  thing.cell, thing.slot = cell, #cell + 1
  cell[thing.slot] = thing
end

--- Removes a thing. Does nothing for one that is not in the grid.
function Grid:take(thing)
  local cell = thing.cell
  if not cell then
    return
  end
  local last = cell[#cell]
  cell[thing.slot], last.slot = last, thing.slot
  cell[#cell] = nil
  thing.cell = nil
end

--- Fills `found` with all things in the cells that a rectangle touches, and returns their number.
--- Some of them may be beside the rectangle. Later elements of `found` stay, because the caller
--- reuses one table.
---@param left number
---@param top number
---@param right number
---@param bottom number
---@param found table
---@return integer count
function Grid:around(left, top, right, bottom, found)
  local first, last = line_of(left, self.side, self.columns),
    line_of(right, self.side, self.columns)
  local count = 0
  for row = line_of(top, self.side, self.rows), line_of(bottom, self.side, self.rows) do
    local number = row * self.columns + 1
    for column = first, last do
      local cell = self[number + column]
      for slot = 1, #cell do
        count = count + 1
        found[count] = cell[slot]
      end
    end
  end
  return count
end

return grid
