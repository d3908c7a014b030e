-- report.lua -- what the benchmark prints: tables, or one JSON object a row, and its progress.

local report = {}

---@class bench.Column
---@field name string    the key of its value in a row
---@field title string
---@field width integer
---@field format string|nil  of a number; "%s" by default

local as_json, live = false, false
local part, columns

---@param options { json: boolean|nil }
function report.open(options)
  as_json = options.json or false
  live = os.execute "test -t 2" or false
end

---Removes the line of the progress.
function report.clear()
  if live then io.stderr:write "\r\27[K" end
end

---Says what is measured now, where stderr is a terminal.
function report.progress(format, ...)
  if not live then return end
  report.clear()
  io.stderr:write(part, ": ", format:format(...))
  io.stderr:flush()
end

---A line above the next table.
function report.note(format, ...)
  report.clear()
  if as_json then
    io.stderr:write(format:format(...), "\n")
  else
    print(format:format(...))
  end
end

---Begins a table.
---@param name string  the part's
---@param title string
---@param list bench.Column[]
function report.table(name, title, list)
  report.clear()
  part, columns = name, list
  if as_json then return end
  print(title .. ":\n")
  local cells = {}
  for i, column in ipairs(list) do
    cells[i] = ("%" .. column.width .. "s"):format(column.title)
  end
  print(table.concat(cells, " "))
end

---The value, or nil for a ratio to nothing, which --trial may have.
local function finite(value)
  local is_infinite = type(value) == "number" and (value ~= value or math.abs(value) == math.huge)
  return not is_infinite and value or nil
end

local function cell(column, value)
  local text = finite(value) == nil and "-" or (column.format or "%s"):format(value)
  return ("%" .. column.width .. "s"):format(text)
end

local function json_of(value)
  if finite(value) == nil then return "null" end
  if type(value) == "string" then return ('"%s"'):format(value) end
  return (math.type(value) == "integer" and "%d" or "%.6g"):format(value)
end

---Prints a row.
---@param values table<string, any>  by the names of the columns; `above` says which goal is missed
function report.row(values)
  report.clear()
  if as_json then
    local fields = { ('"part":"%s"'):format(part) }
    for _, column in ipairs(columns) do
      fields[#fields + 1] = ('"%s":%s'):format(column.name, json_of(values[column.name]))
    end
    fields[#fields + 1] = '"above_goal":' .. tostring(values.above ~= nil)
    print("{" .. table.concat(fields, ",") .. "}")
  else
    local cells = {}
    for i, column in ipairs(columns) do cells[i] = cell(column, values[column.name]) end
    print(table.concat(cells, " ") .. (values.above and "  " .. values.above or ""))
  end
  io.stdout:flush()
end

---Ends the table.
function report.finish()
  report.clear()
  if not as_json then print() end
end

return report
