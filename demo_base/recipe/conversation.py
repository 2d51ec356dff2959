"""Patterns of everyday sentences, questions, numbers and names, written for this recipe."""

import random

from demo_base.recipe.patterns import DAYS, DIGITS, MONTHS, ORDINALS, TEENS, TENS, fill


def _phrases(joined: str) -> list[str]:
    return joined.split(",")


NUMBERS = [*DIGITS[2:], *TEENS, *TENS]

WORDS = {
    "n": NUMBERS,
    "ordinal": ORDINALS,
    "day": DAYS,
    "month": MONTHS,
    "name": _phrases(
        "Anna,Ben,Carla,David,Emma,Frank,Grace,Henry,Irene,Jack,Kate,Laura,Martin,Nora,"
        "Oliver,Paul,Rachel,Sam,Teresa,Victor,Wendy,Alice,Brian,Diana,George,Helen,"
        "Julia,Kevin,Linda,Michael,Peter,Robert,Sarah,Thomas,Charles,Elizabeth,Joseph,"
        "Patricia,William,Margaret"
    ),
    "surname": _phrases(
        "Adams,Baker,Carter,Davis,Evans,Fisher,Green,Hughes,Jackson,Kelly,Lewis,Miller,"
        "Nelson,Parker,Roberts,Smith,Taylor,Walker,Young,Anderson,Campbell,Robinson,"
        "Thompson,Mitchell"
    ),
    "city": _phrases(
        "Boston,Chicago,Denver,London,Paris,Dublin,Seattle,Houston,Madrid,Berlin,"
        "Toronto,Sydney,Oxford,Bristol,Atlanta,Vienna,Rome,Phoenix,Dallas,Glasgow"
    ),
    "who": _phrases(
        "my sister,my brother,our neighbor,his mother,her father,the teacher,my boss,"
        "the doctor,an old friend,the driver,everyone,nobody,somebody,the children,"
        "your cousin"
    ),
    "thing": _phrases(
        "the car,a book,the keys,my phone,her umbrella,the big table,a cup of coffee,"
        "the bill,some bread,the old radio,a new jacket,the garden,his bicycle,the kitchen,"
        "that letter,the blue box,a ticket,the window,your shoes,the piano,a bottle of water,"
        "the picture,my glasses,the newspaper,a sandwich,this chair,the dog,the tickets"
    ),
    "place": _phrases(
        "at the station,in the kitchen,near the river,at school,in the park,on the corner,"
        "by the door,in the office,at the market,behind the house,at the airport,"
        "across the street,in the library,under the bridge,at the beach,in the next room"
    ),
    "time": _phrases(
        "this morning,last night,yesterday,tomorrow,after lunch,before dinner,next week,"
        "on the weekend,in a minute,right now,every day,in the summer,a year ago,at noon"
    ),
    "did": _phrases(
        "found,bought,sold,lost,forgot,broke,fixed,wanted,saw,brought,took,moved,opened,"
        "painted,washed,borrowed,described,noticed,remembered,mentioned"
    ),
    "do": _phrases(
        "find,buy,sell,lose,forget,break,fix,want,see,bring,take,move,open,paint,wash,borrow,"
        "describe,notice,remember,mention"
    ),
    "adj": _phrases(
        "wonderful,difficult,strange,beautiful,expensive,quiet,boring,simple,terrible,useful,"
        "enormous,dangerous,comfortable,delicious,important,ridiculous,perfect,ordinary"
    ),
    "weather": _phrases(
        "raining,snowing,getting cold,very windy,warm and sunny,foggy,freezing,cloudy"
    ),
    "activity": _phrases(
        "swimming,reading,cooking,shopping,dancing,hiking,fishing,sleeping,working,singing,"
        "driving,writing,playing chess,walking,cleaning,jogging"
    ),
}
"""Words that replace ``{name}`` in a pattern."""

PATTERNS = """
{who} {did} {thing} {place}.
{who} {did} {thing} {time}.
Did {who} {do} {thing} {time}?
Why did {name} {do} {thing}?
Could you {do} {thing} for me, please?
I don't think {who} will {do} {thing}.
Where did you {do} {thing}?
I would like to {do} {thing} {time}.
Let's {do} {thing} {place}.
We went {activity} {time}, and it was {adj}.
Do you enjoy {activity}, or do you prefer {activity}?
It was {weather} when we left {city}.
I heard that it's {weather} in {city} {time}.
How far is it from {city} to {city}?
The train to {city} leaves at {n} minutes past {n}.
My name is {name} {surname}, and I live in {city}.
Have you met {name} {surname} from {city}?
{name} called {time}, but {who} didn't answer.
"{name}, is that you?" asked {who}.
That is the most {adj} story I have ever heard.
What a {adj} day it was {place}!
You look tired. Did you go {activity} {time}?
Yes, of course. It's {place}.
No, not really. I think it's too {adj}.
I'm so sorry, I completely forgot {thing}.
The flight costs {n} dollars and {n} cents.
She is {n} years old, and her brother is {n}.
About {n} people came to the party on {day}.
There were {n} chairs and {n} tables {place}.
Her birthday is on {month} {ordinal}.
In {month} it is usually {weather} here.
We need {n} eggs, {n} apples and some milk.
If it's {weather}, we can stay home and try {activity}.
I have never been to {city}, but {name} goes there every {month}.
Who told you that {name} {did} {thing}?
Turn left after {n} hundred yards; it's {place}.
You should ask {name} about {thing}.
Oh, really? I thought {who} {did} it.
It takes {n} minutes to get there, maybe {n}.
Nothing is more {adj} than {activity} {time}.
They have been {activity} since {day}.
What time does {who} get back from {city}?
Please tell {name} that {thing} is {place}.
Well, it depends on {thing}.
Can you believe {who} {did} {thing} again?
Be careful with {thing}; it's {adj}.
I was {activity} {place} when {name} {did} {thing}.
Mr. {surname} and Mrs. {surname} were {place} {time}.
""".strip().splitlines()


def remark(rng: random.Random) -> str:
    """Fill a pattern at random."""
    text = fill(rng, rng.choice(PATTERNS), WORDS)
    return text[0].upper() + text[1:]
