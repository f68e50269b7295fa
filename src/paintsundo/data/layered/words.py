"""What artists call their layers, by stage of work, in the languages of most files that are shared.

English, Japanese, Chinese, Korean, French, German, Spanish, Portuguese, Italian, Russian. Latin and Cyrillic words are
the beginnings of words in names; others stand anywhere in a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_TABLE = """
sketch: sketch rough draft doodle underdrawing construction guide
    ラフ 下書き 下描き 下絵 アタリ あたり スケッチ 草稿 草图 草圖 起稿 스케치 러프 밑그림
    esquisse brouillon croquis crayonné skizze entwurf vorzeichnung boceto bosquejo borrador esboço rascunho
    schizzo bozza скетч эскиз набросок черновик
line: line ink outline contour pen
    線 主線 線画 ペン入れ ペン 輪郭 线 线稿 線稿 勾线 描线 선화 라인 펜선 외곽선
    encrage trait lignes linie umriss tusche línea linea tinta entintado traço linha inchiostro
    лайн линии линия контур обводка
flats: flat base color colour fill paint skin hair cloth background bg paper
    下塗り 塗り 塗 ベース ベタ 色 肌 髪 服 背景 用紙 紙 底色 平涂 上色 固有色 皮肤 头发 밑색 채색 색 피부 머리 배경
    aplat couleur peau cheveux fond farbe grund haut haare hintergrund plano relleno piel pelo fondo cor preenchimento
    pele cabelo fundo tinte sfondo цвет база заливка кожа волосы фон
shading: shadow shade shading dark occlusion
    影 陰 かげ カゲ 阴影 陰影 暗部 그림자 명암 음영
    ombre ombrage schatten schattierung sombra sombreado sombreamento ombra ombreggiatura тень тени
light: highlight light shine rim glint specular
    光 ハイライト 照り 高光 亮部 하이라이트 빛 lumière reflet éclat licht glanz luz brillo brilho luce свет блик
effects: effect fx filter texture noise grain particle glow bloom adjust correction gradient overlay finish text
    効果 エフェクト 加工 グラデ 質感 仕上げ 文字 特效 效果 滤镜 渐变 효과 질감 보정
    effet effekt textur efecto efeito effetto эффект текстура градиент
"""


def _parsed(table: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    stage = ""
    for line in table.strip().splitlines():
        if not line.startswith(" "):
            stage, _, line = line.partition(":")
        found[stage] = (*found.get(stage, ()), *line.split())
    return found


WORDS: Mapping[str, Sequence[str]] = _parsed(_TABLE)
STAGES = tuple(WORDS)
