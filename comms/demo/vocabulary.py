"""What made-up people are called and what they say, in the languages people write to businesses in."""

# First and last names as they are written, and as they stand in an e-mail address.
FIRST_NAMES = (
    ("Jane", "jane"), ("José", "jose"), ("Anaïs", "anais"), ("Jürgen", "juergen"), ("Søren", "soren"),
    ("Łukasz", "lukasz"), ("Zoë", "zoe"), ("Björn", "bjorn"), ("María", "maria"), ("Oliver", "oliver"),
    ("Chloé", "chloe"), ("Müge", "muge"), ("Nguyễn", "nguyen"), ("Ольга", "olga"), ("Иван", "ivan"),
    ("Ελένη", "eleni"), ("太郎", "taro"), ("花子", "hanako"), ("伟", "wei"), ("민준", "minjun"),
    ("محمد", "mohamed"), ("Priya", "priya"), ("Arjun", "arjun"), ("Fatima", "fatima"), ("Kwame", "kwame"),
    ("Amara", "amara"), ("Liam", "liam"), ("Emma", "emma"), ("Noah", "noah"), ("Sofia", "sofia"),
    ("Mateo", "mateo"), ("Lucía", "lucia"), ("Hans", "hans"), ("Greta", "greta"), ("Pierre", "pierre"),
    ("Élodie", "elodie"), ("Marco", "marco"), ("Giulia", "giulia"), ("Astrid", "astrid"), ("Erik", "erik"),
    ("Ingrid", "ingrid"),
)  # fmt: skip
LAST_NAMES = (
    ("Doe", "doe"), ("Müller", "mueller"), ("García", "garcia"), ("O'Brien", "obrien"), ("Nowak", "nowak"),
    ("Dupont", "dupont"), ("Rossi", "rossi"), ("Jensen", "jensen"), ("Åberg", "aberg"), ("Yılmaz", "yilmaz"),
    ("Петрова", "petrova"), ("Παπαδόπουλος", "papadopoulos"), ("山田", "yamada"), ("王", "wang"), ("김", "kim"),
    ("Trần", "tran"), ("Sharma", "sharma"), ("Okafor", "okafor"), ("Mensah", "mensah"), ("Smith", "smith"),
    ("Johnson", "johnson"), ("Williams", "williams"), ("Brown", "brown"), ("Schäfer", "schaefer"),
    ("Lefèvre", "lefevre"), ("Moreau", "moreau"), ("Ferrari", "ferrari"), ("Bianchi", "bianchi"),
    ("Hernández", "hernandez"), ("López", "lopez"), ("Santos", "santos"), ("Silva", "silva"),
    ("van Dijk", "vandijk"), ("de Vries", "devries"), ("Haddad", "haddad"), ("Cohen", "cohen"),
    ("Kowalski", "kowalski"),
)  # fmt: skip
COMPANIES = (
    "Acme", "Globex", "Initech", "Umbrella Insurance", "Stark Plumbing", "Wayne Logistics", "Café Zürich",
    "Boulangerie Moreau", "Schäfer & Söhne", "García Hermanos", "Nordlicht Energie", "東京電力サービス", "Ромашка",
    "Sunrise Dental", "Blue Lagoon Spa", "Hilltop Garage", "Maple Street Books", "Harbour Yoga", "Prime Fitness",
)  # fmt: skip
COMPANY_FORMS = ("", " GmbH", " Ltd", " Inc", " S.A.", " LLC", " B.V.")
JOBS = ("Owner", "Manager", "Receptionist", "Engineer", "Buyer", "Accountant", "Dentist", "Student")
SOURCES = ("inbound_sms", "website", "referral", "import", "trade fair")
DOMAINS = ("example.com", "example.org", "mail.example.net", "post.example.de")

OPENINGS = (
    "Hi, is the", "Hello, could you move the", "Please confirm the", "Thanks, the", "I am calling about the",
    "Sorry, I missed the", "Can I get the", "What about the", "The", "Where is the",
    "Guten Tag, ich möchte", "Könnten Sie bitte", "Vielen Dank für", "Wann beginnt",
    "Bonjour, je voudrais", "Merci pour", "Est-ce que vous avez", "Où est",
    "Hola, quisiera", "Gracias por", "¿Tienen todavía", "Por favor confirme",
    "Ciao, vorrei", "Grazie per", "Здравствуйте, где", "Спасибо за", "こんにちは、", "请问", "Cześć, czy jest",
)  # fmt: skip
TOPICS = (
    "invoice", "appointment", "delivery", "3pm slot", "refund", "booking for two", "order", "repair", "estimate",
    "subscription", "table on the terrace", "parking permit", "spare key", "dental check", "yoga class",
    "Termin am Montag", "Rechnung", "Lieferung nach München", "Überweisung", "Schlüssel",
    "rendez-vous", "facture", "livraison à l'hôtel", "café crème", "reçu",
    "cita del martes", "factura", "envío a Bogotá", "habitación", "niño",
    "appuntamento", "fattura", "счёт", "доставка", "予約をお願いします", "発票", "预约", "faktura", "zamówienie",
)  # fmt: skip
CLOSINGS = (
    "still open?", "for tomorrow?", "please", "by Friday", "today", "as soon as possible", "again", "next week",
    "bitte", "morgen früh", "s'il vous plaît", "demain", "mañana", "por favor", "domani", "пожалуйста", "ありがとう",
    "谢谢", "dziękuję", "!", "(urgent)", "with extra cheese", "number", "reference", "code",
)  # fmt: skip
SUBJECTS = (
    "Your invoice", "Re: Appointment", "Question about my order", "Reklamation", "Anfrage wegen Termin",
    "Demande de devis", "Consulta sobre el envío", "Preventivo", "Заказ", "ご予約について", "Feedback", "Newsletter",
)  # fmt: skip
TAGS = ("vip", "billing", "sales", "support", "follow-up", "complaint", "wholesale", "press")
